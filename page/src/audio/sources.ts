// Where a lane's samples come from: ranges of a file of floats, ranges of a WAV, a take that is being made.
import { ApiError, type Client } from "../api/client.ts";
import { pause } from "../api/sse.ts";

/** Interleaved little-endian floats as one array a channel. */
export function deinterleave(data: Float32Array, channels: number): Float32Array[] {
  const frames = Math.floor(data.length / channels);
  if (channels === 1) return [data.slice(0, frames)];
  return Array.from({ length: channels }, (_, channel) => {
    const one = new Float32Array(frames);
    for (let frame = 0; frame < frames; frame++) one[frame] = data[frame * channels + channel] as number;
    return one;
  });
}

export function floats(bytes: ArrayBuffer): Float32Array {
  return new Float32Array(bytes, 0, Math.floor(bytes.byteLength / 4));
}

/** Samples that can be asked for by range, counted from the source's own start. */
export interface RangedSource {
  read(from: number, count: number, signal: AbortSignal): Promise<Float32Array[]>;
}

/** A file of bare floats: `GET …/line/audio?format=f32`, `GET …/audio?format=f32`. */
export class FloatSource implements RangedSource {
  private readonly client: Client;
  private readonly path: string;
  private readonly channels: number;

  constructor(client: Client, path: string, channels: number) {
    this.client = client;
    this.path = path;
    this.channels = channels;
  }

  async read(from: number, count: number, signal: AbortSignal): Promise<Float32Array[]> {
    const frame = 4 * this.channels;
    const range = `bytes=${from * frame}-${(from + count) * frame - 1}`;
    const answer = await this.client.request(this.path, { headers: { Range: range }, signal });
    let bytes = await answer.arrayBuffer();
    if (answer.status === 200) bytes = bytes.slice(from * frame, (from + count) * frame);
    return deinterleave(floats(bytes), this.channels);
  }
}

/** A 32-bit float WAV, as nodes and stems are kept. */
export class WavSource implements RangedSource {
  #dataAt: Promise<number> | null = null;

  private readonly client: Client;
  private readonly path: string;
  private readonly channels: number;

  constructor(client: Client, path: string, channels: number) {
    this.client = client;
    this.path = path;
    this.channels = channels;
  }

  async read(from: number, count: number, signal: AbortSignal): Promise<Float32Array[]> {
    this.#dataAt ??= this.#find(signal);
    this.#dataAt.catch(() => {
      this.#dataAt = null;
    });
    const frame = 4 * this.channels;
    const start = (await this.#dataAt) + from * frame;
    const bytes = await this.#bytes(start, count * frame, signal);
    return deinterleave(floats(bytes), this.channels);
  }

  async #bytes(start: number, length: number, signal: AbortSignal): Promise<ArrayBuffer> {
    const headers = { Range: `bytes=${start}-${start + length - 1}` };
    const query = { redirect: "false" }; // a bucket would need to allow this page's origin
    const answer = await this.client.request(this.path, { query, headers, signal });
    const bytes = await answer.arrayBuffer();
    return answer.status === 200 ? bytes.slice(start, start + length) : bytes;
  }

  async #find(signal: AbortSignal): Promise<number> {
    return wavDataOffset(await this.#bytes(0, 4096, signal));
  }
}

/** Where the samples of a 32-bit float WAV begin. */
export function wavDataOffset(head: ArrayBuffer): number {
  const view = new DataView(head);
  let at = 12;
  while (at + 8 <= head.byteLength) {
    const name = String.fromCharCode(...new Uint8Array(head, at, 4));
    if (name === "data") return at + 8;
    const size = view.getUint32(at + 4, true);
    at += 8 + size + (size & 1);
  }
  throw new Error("no samples in the first 4 kB of the WAV");
}

/** Another attempt at a take that is being made gave other samples than those that were heard. */
export class MadeAnew extends Error {}

const OVERLAP_BYTES = 1 << 16;
const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 4000;

/** Follows a take while it is being made; `onSamples` has each piece and where it begins. A connection that breaks
 * off, for whatever reason, is taken up again where it was: the last bytes are asked for a second time and compared.
 *
 * Throws MadeAnew where they differ, ApiError where the server has no more of the take. */
export async function followTake(
  client: Client,
  jobId: string,
  onStart: (channels: number) => void,
  onSamples: (start: number, channels: Float32Array[]) => void,
  signal: AbortSignal,
  wait: (ms: number, signal: AbortSignal) => Promise<void> = pause,
): Promise<number> {
  const taken = new Taken(onStart, onSamples);
  for (let waitMs = FIRST_WAIT_MS; ; waitMs = Math.min(2 * waitMs, LONGEST_WAIT_MS)) {
    const before = taken.bytes;
    try {
      await taken.readOn(client, jobId, signal);
      return taken.frames;
    } catch (error) {
      if (signal.aborted || error instanceof MadeAnew || (error instanceof ApiError && error.isFinal))
        throw error;
    }
    if (taken.bytes > before) waitMs = FIRST_WAIT_MS;
    await wait(waitMs, signal);
  }
}

/** What has come of a take. */
class Taken {
  bytes = 0;
  #last = new Uint8Array(0);
  #rest = new Uint8Array(0);
  #channels = 1;
  readonly #onStart: (channels: number) => void;
  readonly #onSamples: (start: number, channels: Float32Array[]) => void;

  constructor(
    onStart: (channels: number) => void,
    onSamples: (start: number, channels: Float32Array[]) => void,
  ) {
    this.#onStart = onStart;
    this.#onSamples = onSamples;
  }

  get frames(): number {
    return Math.floor(this.bytes / (4 * this.#channels));
  }

  /** Reads to the end of the take. Throws where the connection ends before. */
  async readOn(client: Client, jobId: string, signal: AbortSignal): Promise<void> {
    const from = this.bytes - this.#last.length;
    const headers: Record<string, string> = from > 0 ? { Range: `bytes=${from}-` } : {};
    const answer = await client.request(`v1/jobs/${jobId}/audio`, {
      query: { format: "f32" },
      headers,
      signal,
    });
    if (this.bytes === 0) {
      this.#channels = Number(answer.headers.get("X-Segue-Channels") ?? 1);
      this.#onStart(this.#channels);
    }
    let at = answer.status === 206 ? from : 0;
    const end = at + Number(answer.headers.get("Content-Length") ?? 0);
    const reader = (answer.body as ReadableStream<Uint8Array<ArrayBuffer>>).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      this.#take(at, value);
      at += value.length;
    }
    if (at < end) throw new Error("the connection broke off");
  }

  /** Bytes from `at` on: those that are known have to be the same. */
  #take(at: number, piece: Uint8Array<ArrayBuffer>): void {
    const known = Math.min(piece.length, Math.max(0, this.bytes - at));
    const first = this.bytes - this.#last.length;
    for (let index = Math.max(0, first - at); index < known; index++)
      if (piece[index] !== this.#last[at + index - first]) throw new MadeAnew();
    if (known === piece.length) return;
    const fresh = piece.subarray(known);
    this.#last = joined(this.#last, fresh).slice(-OVERLAP_BYTES);
    const start = this.frames;
    this.bytes += fresh.length;
    const all = joined(this.#rest, fresh);
    const whole = all.length - (all.length % (4 * this.#channels));
    this.#rest = all.slice(whole);
    if (whole > 0) this.#onSamples(start, deinterleave(floats(all.slice(0, whole).buffer), this.#channels));
  }
}

function joined(one: Uint8Array, other: Uint8Array): Uint8Array<ArrayBuffer> {
  const both = new Uint8Array(one.length + other.length);
  both.set(one);
  both.set(other, one.length);
  return both;
}
