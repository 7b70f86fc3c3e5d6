import assert from "node:assert/strict";
import { test } from "node:test";
import { Client } from "../api/client.ts";
import { wav } from "./recorder.ts";
import { deinterleave, FloatSource, followTake, WavSource, wavDataOffset } from "./sources.ts";

const samples = Float32Array.from({ length: 2000 }, (_, index) => Math.fround(Math.sin(index)));

/** Answers ranges of one file, as the server does. */
function serving(bytes: Uint8Array<ArrayBuffer>, headers: Record<string, string> = {}): Client {
  const client = new Client("http://test/");
  client.request = async (_path, init) => {
    const range = /bytes=(\d+)-(\d+)/.exec(new Headers(init?.headers).get("Range") ?? "");
    if (range === null) return new Response(bytes, { headers });
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

test("a take that is being made arrives whole, in order; one that breaks off is an error", async () => {
  const bytes = new Uint8Array(samples.buffer);
  const headers = { "X-Segue-Channels": "2", "Content-Length": String(bytes.length) };
  const heard: Float32Array[] = [];
  const signal = new AbortController().signal;
  await followTake(
    serving(bytes, headers),
    "job",
    () => {},
    (_, [left]) => heard.push(left as Float32Array),
    signal,
  );
  assert.deepEqual(
    Float32Array.from(heard.flatMap((piece) => [...piece])),
    deinterleave(samples, 2)[0] as Float32Array,
  );
  const cut = serving(bytes.slice(0, 4001), headers);
  await assert.rejects(
    followTake(
      cut,
      "job",
      () => {},
      () => {},
      signal,
    ),
    /broke off/,
  );
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
