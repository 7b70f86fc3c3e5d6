import assert from "node:assert/strict";
import { test } from "node:test";
import { Mixer } from "./mixer.ts";

const RATE = 8000;

/** Noise of a seed, so that a sample out of place shows. */
function noise(length: number, seed: number): Float32Array {
  const samples = new Float32Array(length);
  let state = seed;
  for (let index = 0; index < length; index++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    samples[index] = state / 2 ** 31 - 1;
  }
  return samples;
}

function run(
  mixer: Mixer,
  blocks: number,
  onBlock: (block: number) => void = () => {},
): [Float32Array, Float32Array] {
  const left = new Float32Array(blocks * 128);
  const right = new Float32Array(blocks * 128);
  for (let block = 0; block < blocks; block++) {
    onBlock(block);
    const out = [new Float32Array(128), new Float32Array(128)];
    mixer.process(out);
    left.set(out[0] as Float32Array, block * 128);
    right.set(out[1] as Float32Array, block * 128);
  }
  return [left, right];
}

test("what is heard is bit for bit what came, in whatever pieces", () => {
  const [left, right] = [noise(1000, 1), noise(1000, 2)];
  const mixer = new Mixer(RATE);
  mixer.lane("take", 0, 1000, 1);
  for (const [from, to] of [
    [300, 1000],
    [0, 7],
    [7, 300],
  ] as const)
    mixer.chunk("take", from, [left.slice(from, to), right.slice(from, to)]);
  mixer.play(false);
  const [heardLeft, heardRight] = run(mixer, 10);
  assert.deepEqual(heardLeft.slice(0, 1000), left);
  assert.deepEqual(heardRight.slice(0, 1000), right);
  assert.ok(heardLeft.slice(1000).every((sample) => sample === 0));
  assert.deepEqual(mixer.state(), { position: 1000, playing: false, waiting: false, ended: true });
});

test("missing samples are waited for, and none is lost or heard twice", () => {
  const whole = noise(1280, 3);
  const mixer = new Mixer(RATE);
  mixer.lane("live", 0, 1280, 1);
  mixer.chunk("live", 0, [whole.slice(0, 200)]);
  mixer.play(false);
  const waits: boolean[] = [];
  const [heard] = run(mixer, 15, (block) => {
    waits.push(mixer.waiting);
    if (block === 5) mixer.chunk("live", 200, [whole.slice(200)]);
  });
  assert.ok(waits[3]);
  const pieces = [...heard.slice(0, 128), ...heard.slice(5 * 128)];
  assert.deepEqual(Float32Array.from(pieces).slice(0, 1280), whole);
});

test("takes are switched at the same sample within the fade", () => {
  const [one, other] = [noise(4096, 4), noise(4096, 5)];
  const mixer = new Mixer(RATE);
  mixer.lane("one", 0, 4096, 1);
  mixer.lane("other", 0, 4096, 0);
  mixer.chunk("one", 0, [one]);
  mixer.chunk("other", 0, [other]);
  mixer.play(false);
  const [heard] = run(mixer, 32, (block) => {
    if (block !== 10) return;
    mixer.gain("one", 0);
    mixer.gain("other", 1);
  });
  assert.deepEqual(heard.slice(0, 1280), one.slice(0, 1280));
  assert.deepEqual(heard.slice(1280 + 80), other.slice(1280 + 80)); // 10 ms are 80 samples
  const middle = heard[1280 + 39] as number;
  assert.ok(Math.abs(middle - ((one[1319] as number) + (other[1319] as number)) / 2) < 1e-6);
});

test("a lane that is not heard holds nothing up", () => {
  const mixer = new Mixer(RATE);
  mixer.lane("heard", 0, 256, 1);
  mixer.lane("standby", 0, 256, 0);
  mixer.chunk("heard", 0, [noise(256, 6)]);
  mixer.play(false);
  run(mixer, 2);
  assert.equal(mixer.state().ended, true);
});

test("a lane starts where it lies, on top of the others", () => {
  const mixer = new Mixer(RATE);
  const [line, take] = [noise(128, 7), noise(128, 8)];
  mixer.lane("line", 0, 128, 1);
  mixer.lane("take", 128, 256, 1);
  mixer.chunk("line", 0, [line]);
  mixer.chunk("take", 128, [take]);
  mixer.play(false);
  const [heard] = run(mixer, 2);
  assert.deepEqual(heard, Float32Array.from([...line, ...take]));
});

test("a loop comes round at its sample", () => {
  const mixer = new Mixer(RATE);
  const whole = noise(1000, 9);
  mixer.lane("take", 0, 1000, 1);
  mixer.chunk("take", 0, [whole]);
  mixer.loop = { from: 100, to: 200 };
  mixer.seek(100);
  mixer.play(false);
  const [heard] = run(mixer, 5);
  for (let index = 0; index < heard.length; index++) assert.equal(heard[index], whole[100 + (index % 100)]);
});

test("a trim holds from its sample on", () => {
  const mixer = new Mixer(RATE);
  mixer.lane("take", 0, 256, 1);
  mixer.chunk("take", 0, [new Float32Array(256).fill(0.5)]);
  mixer.trim("take", 100, 0.5);
  mixer.play(false);
  const [heard] = run(mixer, 2);
  assert.deepEqual(heard, new Float32Array(256).fill(0.5, 0, 100).fill(0.25, 100));
});

test("a pause fades, and playing continues from there", () => {
  const mixer = new Mixer(RATE);
  mixer.lane("take", 0, 2048, 1);
  mixer.chunk("take", 0, [new Float32Array(2048).fill(1)]);
  mixer.play(false);
  const [heard] = run(mixer, 6, (block) => {
    if (block === 2) mixer.pause();
    if (block === 4) mixer.play(true);
  });
  assert.ok((heard[256] as number) < 1 && (heard[256] as number) > 0.95);
  assert.ok(heard.slice(384, 512).every((sample) => sample === 0));
  assert.equal(heard[5 * 128 + 127], 1);
});
