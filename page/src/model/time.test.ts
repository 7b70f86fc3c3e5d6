import assert from "node:assert/strict";
import { test } from "node:test";
import { barAt, clock, rulerStep, snap, span } from "./time.ts";

test("clocks and spans", () => {
  assert.deepEqual(
    [0, 5.25, 59.99, 60, 73.08, 3600].map((each) => clock(each)),
    ["0:00.0", "0:05.2", "0:59.9", "1:00.0", "1:13.0", "60:00.0"],
  );
  assert.equal(clock(73.08, 0), "1:13");
  assert.deepEqual([0.5, 6, 59.7, 80, 600].map(span), ["0.5 s", "6 s", "60 s", "1 min 20 s", "10 min"]);
});

test("bars are counted from the first downbeat", () => {
  const beats = [0.5, 1, 1.5, 2, 2.5, 3];
  const downbeats = [1, 3];
  assert.equal(barAt(0.7, beats, downbeats), null);
  assert.deepEqual(barAt(1, beats, downbeats), { bar: 1, beat: 1 });
  assert.deepEqual(barAt(2.6, beats, downbeats), { bar: 1, beat: 4 });
  assert.deepEqual(barAt(3.1, beats, downbeats), { bar: 2, beat: 1 });
});

test("the playhead snaps to a near beat only", () => {
  assert.equal(snap(1.04, [1, 2], 0.05), 1);
  assert.equal(snap(1.4, [1, 2], 0.05), 1.4);
});

test("marks of the ruler leave room", () => {
  for (const scale of [0.5, 3, 20, 150, 600]) assert.ok(rulerStep(scale) * scale >= 70);
});
