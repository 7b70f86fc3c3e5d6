import assert from "node:assert/strict";
import { test } from "node:test";
import type { NodeView } from "../api/schema.ts";
import { matchedGains, shuffled } from "./levels.ts";

const take = (id: string, rms_dbfs: number, lufs: number | null) =>
  ({
    id,
    audio: { rms_dbfs },
    analysis: lufs === null ? null : { integrated_lufs: lufs },
  }) as unknown as NodeView;

test("all takes are as loud as the quietest", () => {
  const gains = matchedGains([take("a", -20, -18), take("b", -10, -24)]);
  assert.equal(gains.get("b"), 1);
  assert.ok(Math.abs((gains.get("a") as number) - 10 ** (-6 / 20)) < 1e-12);
});

test("where one is not measured by LUFS, RMS decides", () => {
  const gains = matchedGains([take("a", -20, -18), take("b", -14, null)]);
  assert.equal(gains.get("a"), 1);
  assert.ok((gains.get("b") as number) < 1);
});

test("silence is left alone", () => {
  const gains = matchedGains([take("a", -120, null), take("b", -14, null)]);
  assert.deepEqual([...gains.values()], [1, 1]);
});

test("a shuffle keeps all", () => {
  assert.deepEqual(shuffled([1, 2, 3, 4]).sort(), [1, 2, 3, 4]);
});
