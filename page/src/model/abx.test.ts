import assert from "node:assert/strict";
import { test } from "node:test";
import { answered, begun, chance, isOver, rightOf, TRIALS } from "./abx.ts";

test("what guessing would have had right: the binomial tail, exactly", () => {
  assert.equal(chance(8, 8), 1 / 256);
  assert.equal(chance(9, 10), 11 / 1024);
  assert.equal(chance(12, 16), 2517 / 65_536);
  assert.equal(chance(0, 12), 1);
  for (const trials of TRIALS)
    for (let right = 0; right <= trials; right++) {
      const sum = chance(right, trials) + chance(trials - right + 1, trials);
      assert.ok(Math.abs(sum - 1) < 1e-15, "at least this many, or fewer");
    }
});

test("a test ends after its trials, and counts what was right", () => {
  const tosses = [true, false, false, true, true];
  const toss = () => tosses.shift() ?? true;
  let trial = begun("one", "other", 4, toss);
  for (const saysA of [true, true, false, true]) trial = answered(trial, saysA, toss);
  assert.ok(isOver(trial));
  assert.equal(rightOf(trial), 3);
  assert.equal(answered(trial, true, toss), trial);
});
