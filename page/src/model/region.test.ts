import assert from "node:assert/strict";
import { test } from "node:test";
import { partOf, regionOf } from "./region.ts";

test("a region lies on the timeline, whichever end was set first", () => {
  assert.deepEqual(regionOf(3, 1.23456, 10), { from: 1.235, to: 3 });
  assert.deepEqual(regionOf(-2, 20, 10), { from: 0, to: 10 });
  assert.equal(regionOf(12, 15, 10), null);
  assert.equal(regionOf(4, 4.0001, 10), null);
});

test("of a take, a crop is what of it lies in the region", () => {
  assert.deepEqual(partOf({ from: 3, to: 20 }, 2, 8), { from: 1, to: 8 });
  assert.deepEqual(partOf({ from: 1, to: 4 }, 2, 8), { from: 0, to: 2 });
  assert.equal(partOf({ from: 1, to: 20 }, 2, 8), null, "all of it is no crop");
  assert.equal(partOf({ from: 11, to: 20 }, 2, 8), null);
  assert.equal(partOf({ from: 9.95, to: 20 }, 2, 8), null, "too short for a take");
});
