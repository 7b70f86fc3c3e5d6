import assert from "node:assert/strict";
import { test } from "node:test";
import { ApiError, Client } from "../api/client.ts";
import { wav } from "./recorder.ts";
import { deinterleave, FloatSource, followTake, MadeAnew, WavSource, wavDataOffset } from "./sources.ts";

const samples = Float32Array.from({ length: 2000 }, (_, index) => Math.fround(Math.sin(index)));

/** Answers ranges of one file, as the server does. */
function serving(bytes: Uint8Array<ArrayBuffer>): Client {
  const client = new Client("http://test/");
  client.request = async (_path, init) => {
    const range = /bytes=(\d+)-(\d+)/.exec(new Headers(init?.headers).get("Range") ?? "");
    if (range === null) return new Response(bytes);
    return new Response(bytes.slice(Number(range[1]), Number(range[2]) + 1), { status: 206 });
  };
  return client;
}

test("a range of floats is the samples asked for", async () => {
  const source = new FloatSource(serving(new Uint8Array(samples.buffer)), "line", 2);
  const [left, right] = await source.read(100, 50, new AbortController().signal);
  assert.deepEqual(left, samples.filter((_, index) => index % 2 === 0).slice(100, 150));
  assert.deepEqual(right, samples.filter((_, index) => index % 2 === 1).slice(100, 150));
});

test("a WAV is read past whatever chunks come before its samples", async () => {
  const head = new DataView(new ArrayBuffer(12 + 8 + 4 + 8));
  const put = (at: number, text: string) =>
    new Uint8Array(head.buffer).set(new TextEncoder().encode(text), at);
  put(8, "WAVE");
  put(12, "junk");
  head.setUint32(16, 3, true); // padded to 4
  put(24, "data");
  assert.equal(wavDataOffset(head.buffer), 32);
  const file = new Uint8Array([...new Uint8Array(head.buffer), ...new Uint8Array(samples.buffer)]);
  const [mono] = await new WavSource(serving(file), "stem", 1).read(10, 20, new AbortController().signal);
  assert.deepEqual(mono, samples.slice(10, 30));
});

/** A take of which each answer breaks off after some bytes; `change` may differ from answer to answer. */
function breaking(
  bytes: Uint8Array<ArrayBuffer>,
  cuts: number[],
  change = (whole: Uint8Array<ArrayBuffer>) => whole,
) {
  const client = new Client("http://test/");
  const asked: number[] = [];
  client.request = async (_path, init) => {
    const from = Number(/bytes=(\d+)-/.exec(new Headers(init?.headers).get("Range") ?? "")?.[1] ?? 0);
    const cut = cuts[asked.push(from) - 1] ?? bytes.length;
    if (cut < 0) throw new ApiError(503, null);
    const headers = { "X-Segue-Channels": "2", "Content-Length": String(bytes.length - from) };
    const body = (asked.length > 1 ? change(bytes) : bytes).slice(from, Math.max(from, cut));
    return new Response(body, { status: from > 0 ? 206 : 200, headers });
  };
  return { client, asked };
}

async function followed(client: Client): Promise<Float32Array> {
  const heard: number[] = [];
  await followTake(
    client,
    "job",
    () => {},
    (start, [left]) => {
      assert.equal(start, heard.length);
      heard.push(...(left as Float32Array));
    },
    new AbortController().signal,
    async () => {},
  );
  return Float32Array.from(heard);
}

test("a take that is being made arrives whole and once, however often the connection breaks off", async () => {
  const bytes = new Uint8Array(samples.buffer);
  const left = deinterleave(samples, 2)[0] as Float32Array;
  assert.deepEqual(await followed(breaking(bytes, []).client), left);
  const { client, asked } = breaking(bytes, [1001, -1, 1001, 4003, 4003]);
  assert.deepEqual(await followed(client), left);
  assert.equal(asked.length, 6);
});

test("a take that was made anew is not gone on with; one that has ended is an error", async () => {
  const bytes = new Uint8Array(samples.buffer);
  const other = (whole: Uint8Array<ArrayBuffer>) => whole.map((byte, at) => (at === 900 ? byte ^ 1 : byte));
  await assert.rejects(followed(breaking(bytes, [1001], other).client), MadeAnew);
  const gone = new Client("http://test/");
  gone.request = async () => {
    throw new ApiError(409, null);
  };
  await assert.rejects(followed(gone), ApiError);
});

test("a recording is a WAV of 16 bits", async () => {
  const sound = {
    sampleRate: 48_000,
    numberOfChannels: 1,
    length: 3,
    getChannelData: () => Float32Array.from([0, 1, -2]),
  };
  const bytes = await wav(sound).arrayBuffer();
  const values = new Int16Array(bytes.slice(wavDataOffset(bytes)));
  assert.deepEqual([...values], [0, 32_767, -32_767]);
});
