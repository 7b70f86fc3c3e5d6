import assert from "node:assert/strict";
import { test } from "node:test";
import type { DiffRowView } from "../api/schema.ts";
import { gathered, strength } from "./diff.ts";

const row = (at: number, more: Partial<DiffRowView> = {}): DiffRowView => ({
  a_from_s: at,
  a_to_s: at + 2,
  b_from_s: at,
  b_to_s: at + 2,
  same: false,
  chroma: 0,
  onsets: 0,
  loudness: 0,
  changed_from_s: null,
  changed_to_s: null,
  ...more,
});

test("equal rows in a row are shown as one, with the times of all", () => {
  const same = { same: true };
  const shown = gathered([row(0, same), row(2, same), row(4), row(6, same), row(8), row(10)]);
  assert.deepEqual(
    shown.map(({ first, last }) => [first, last]),
    [
      [1, 2],
      [3, 3],
      [4, 4],
      [5, 5],
      [6, 6],
    ],
  );
  assert.equal(shown[0]?.row.a_to_s, 4);
});

test("what differs is seen to, however little it is", () => {
  assert.equal(strength(row(0, { same: true })), 0);
  assert.ok(strength(row(0)) > 0.1);
  assert.equal(strength(row(0, { chroma: 1 })), 1);
  assert.equal(strength(row(0, { loudness: -40 })), 1);
  assert.equal(strength(row(0, { chroma: null, onsets: null, loudness: null })), 1);
});
