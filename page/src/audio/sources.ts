// Where a lane's samples come from: ranges of a file of floats, ranges of a WAV, a take that is being made.
import type { Client } from "../api/client.ts";

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

/** Follows a take while it is being made; `onSamples` has each piece and where it begins. */
export async function followTake(
  client: Client,
  jobId: string,
  onStart: (channels: number) => void,
  onSamples: (start: number, channels: Float32Array[]) => void,
  signal: AbortSignal,
): Promise<number> {
  const answer = await client.request(`v1/jobs/${jobId}/audio`, { query: { format: "f32" }, signal });
  const channels = Number(answer.headers.get("X-Segue-Channels") ?? answer.headers.get("X-Channels") ?? 1);
  const expected = Number(answer.headers.get("Content-Length") ?? 0);
  onStart(channels);
  const frame = 4 * channels;
  const reader = (answer.body as ReadableStream<Uint8Array<ArrayBuffer>>).getReader();
  let rest = new Uint8Array(0);
  let position = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    const joined = new Uint8Array(rest.length + value.length);
    joined.set(rest);
    joined.set(value, rest.length);
    const whole = joined.length - (joined.length % frame);
    rest = joined.slice(whole);
    if (whole === 0) continue;
    onSamples(position, deinterleave(floats(joined.slice(0, whole).buffer), channels));
    position += whole / frame;
  }
  if (expected > 0 && position * frame < expected) throw new Error("the take broke off");
  return position;
}
