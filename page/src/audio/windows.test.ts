import assert from "node:assert/strict";
import { test } from "node:test";
import { Windows } from "./windows.ts";

const SIZE = 100;

test("however long a lane is, no more is kept than lies around the playhead", () => {
  let state = 7;
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const length = 60_050;
  const windows = new Windows(SIZE);
  let most = 0;
  for (let step = 0, position = 0; step < 4000; step++) {
    position = random() < 0.02 ? random() * length : Math.min(length, position + 20);
    windows.forget(position - 1000, position + 1000);
    for (const window of windows.missing(position, Math.min(length, position + 600), length, length)) {
      windows.begin(window);
      windows.end(window, random() < 0.9);
    }
    most = Math.max(most, windows.count);
  }
  assert.ok(most > 6 && most <= 2 * (1000 / SIZE) + 2, String(most));
});

test("a window is asked for once, when all of it exists, and again when it did not come", () => {
  const windows = new Windows(SIZE);
  assert.deepEqual(windows.missing(0, 400, 250, 120), [0]);
  assert.deepEqual(windows.missing(150, 400, 250, 250), [1, 2]);
  assert.deepEqual(windows.span(2, 250), [200, 50]);
  windows.begin(1);
  assert.deepEqual(windows.missing(150, 400, 250, 250), [2]);
  windows.end(1, false);
  assert.deepEqual(windows.missing(150, 400, 250, 250), [1, 2]);
  windows.end(1, true);
  assert.deepEqual(windows.missing(150, 400, 250, 250), [2]);
});

test("pieces that come unasked fill windows, a gap between them does not", () => {
  const windows = new Windows(SIZE);
  for (let at = 60; at < 220; at += 40) windows.push(at, 40, 250);
  assert.deepEqual(windows.missing(0, 250, 250, 250), [0, 2]);
  windows.push(220, 30, 250);
  assert.deepEqual(windows.missing(0, 250, 250, 250), [0]);
  windows.forget(150, 1000);
  windows.push(250, 10, 400);
  assert.deepEqual(windows.missing(100, 250, 250, 250), []);
  assert.ok(windows.forget(300, 400), "what was let go stays so");
  windows.push(0, 90, 400);
  windows.push(95, 200, 400);
  assert.deepEqual(windows.missing(0, 100, 400, 400), [0]);
});
