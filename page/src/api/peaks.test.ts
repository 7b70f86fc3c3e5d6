import assert from "node:assert/strict";
import { test } from "node:test";
import { Peaks } from "./peaks.ts";

function file(pairs: number[], channels: number): ArrayBuffer {
  const buffer = new ArrayBuffer(24 + pairs.length);
  const view = new DataView(buffer);
  [2, 1, 44_100, 256, pairs.length / 2 / channels, channels].forEach((value, index) => {
    view.setInt32(4 * index, value, true);
  });
  new Int8Array(buffer, 24).set(pairs);
  return buffer;
}

test("a file of two channels gives the extremes of both", () => {
  const peaks = Peaks.parse(file([-10, 20, -30, 5, 0, 1, -1, 2], 2));
  assert.equal(peaks.length, 2);
  assert.deepEqual(peaks.range(0, 1), [-30, 20]);
  assert.deepEqual(peaks.range(1, 2), [-1, 2]);
  assert.deepEqual(peaks.range(0, 2), [-30, 20]);
  assert.deepEqual(peaks.range(5, 9), [0, 0]);
  assert.throws(() => Peaks.parse(new ArrayBuffer(8)));
});

test("sound that arrives in pieces has the extremes that it has as a whole", () => {
  const sound = Float32Array.from({ length: 5000 }, (_, index) => Math.sin(index / 9) * (index / 5000));
  const whole = Peaks.empty();
  whole.append(sound);
  const pieces = Peaks.empty();
  let rest: Float32Array = new Float32Array(0);
  for (let at = 0; at < sound.length; at += 333)
    rest = pieces.append(Float32Array.from([...rest, ...sound.slice(at, at + 333)]));
  assert.equal(pieces.length, whole.length);
  for (let block = 0; block < whole.length; block++)
    assert.deepEqual(pieces.range(block, block + 1), whole.range(block, block + 1));
});

test("a wide range agrees with its blocks", () => {
  const peaks = Peaks.empty();
  peaks.append(
    Float32Array.from({ length: 256 * 1000 }, (_, index) => Math.sin(index) * ((index % 7919) / 7919)),
  );
  let [low, high] = [127, -128];
  for (let block = 0; block < 960; block++) {
    const [lowest, highest] = peaks.range(block, block + 1);
    [low, high] = [Math.min(low, lowest), Math.max(high, highest)];
  }
  assert.deepEqual(peaks.range(0, 960), [low, high]);
});
