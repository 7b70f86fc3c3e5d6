// Server-sent events by fetch, which can send a key; EventSource cannot.

export type ServerEvent = { event: string; data: string; id: string | null };

/** The events of a text that arrives in pieces (WHATWG HTML, section 9.2). */
export class EventParser {
  retryMs: number | null = null;
  #rest = "";
  #event = "";
  #data: string[] = [];
  #id: string | null = null;

  push(text: string): ServerEvent[] {
    const found: ServerEvent[] = [];
    const lines = (this.#rest + text).split(/\r\n|\n|\r/);
    this.#rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line === "") {
        if (this.#data.length > 0)
          found.push({ event: this.#event || "message", data: this.#data.join("\n"), id: this.#id });
        this.#event = "";
        this.#data = [];
        continue;
      }
      const colon = line.indexOf(":");
      if (colon === 0) continue;
      const name = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
      if (name === "event") this.#event = value;
      else if (name === "data") this.#data.push(value);
      else if (name === "id") this.#id = value;
      else if (name === "retry" && /^\d+$/.test(value)) this.retryMs = Number(value);
    }
    return found;
  }
}

export type StreamState = "connecting" | "live" | "lost";
export type StreamOptions = {
  /** Opens the stream anew; throws where that fails. */
  open: (lastEventId: string | null, signal: AbortSignal) => Promise<Response>;
  onEvent: (event: ServerEvent) => void;
  onState: (state: StreamState) => void;
  /** Whether a failure to open is final. */
  isFinal: (error: unknown) => boolean;
  /** Silence longer than this is a lost connection: a server sends heartbeats. */
  silenceMs?: number;
  wait?: (ms: number, signal: AbortSignal) => Promise<void>;
};

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 8000;

/** Follows a stream until aborted: resumes after the last id, waits longer between failures. */
export async function follow(options: StreamOptions, signal: AbortSignal): Promise<void> {
  const wait = options.wait ?? pause;
  let lastId: string | null = null;
  let waitMs = FIRST_WAIT_MS;
  while (!signal.aborted) {
    const silence = new AbortController();
    const either = AbortSignal.any([signal, silence.signal]);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const rearm = () => {
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), options.silenceMs ?? 45_000);
    };
    try {
      rearm();
      const answer = await options.open(lastId, either);
      options.onState("live");
      const parser = new EventParser();
      const decoder = new TextDecoder();
      const reader = (answer.body as ReadableStream<Uint8Array>).getReader();
      for (;;) {
        rearm();
        const { done, value } = await reader.read();
        if (done) break;
        for (const event of parser.push(decoder.decode(value, { stream: true }))) {
          waitMs = parser.retryMs ?? FIRST_WAIT_MS;
          if (event.id !== null) lastId = event.id;
          options.onEvent(event);
        }
      }
    } catch (error) {
      if (signal.aborted) return;
      if (options.isFinal(error)) throw error;
      options.onState("lost");
    } finally {
      clearTimeout(timer);
    }
    await wait(waitMs, signal);
    waitMs = Math.min(waitMs * 2, LONGEST_WAIT_MS);
  }
}

/** Waits; a page that comes back from sleep, or a network that does, ends the wait. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      globalThis.removeEventListener?.("online", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    globalThis.addEventListener?.("online", done, { once: true });
    signal.addEventListener("abort", done, { once: true });
  });
}
