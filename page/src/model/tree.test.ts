import assert from "node:assert/strict";
import { test } from "node:test";
import type { ChainView, NodeView } from "../api/schema.ts";
import { layOut, startOf, takesBeside, tipThrough } from "./tree.ts";

function node(id: string, parent: string | null, more: Partial<NodeView> = {}): NodeView {
  return {
    id,
    parent_id: parent,
    origin: "generation",
    status: "ready",
    decision: "candidate",
    duration_s: 1,
    prompt: "",
    params: {},
    seed: 1,
    take: 0,
    job_id: null,
    progress: 1,
    created_at: `2026-01-01T00:00:00.${id.padStart(6, "0")}Z`,
    ...more,
  };
}

function chain(nodes: NodeView[], spine: string[]): ChainView {
  return {
    id: "c",
    title: "",
    version: 1,
    created_at: "",
    updated_at: "",
    root_id: nodes[0]?.id ?? "",
    sample_rate_hz: 1000,
    channels: 2,
    nodes,
    spine,
  };
}

/** A tree of so many nodes, of a seed: branches anywhere, some discarded. */
function grown(count: number, seed: number): ChainView {
  let state = seed;
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const nodes = [node("0", null)];
  for (let index = 1; index < count; index++) {
    const parent = nodes[Math.floor(random() * nodes.length)] as NodeView;
    const decision = random() < 0.2 || parent.decision === "discarded" ? "discarded" : "candidate";
    nodes.push(node(String(index), parent.id, { duration_s: 0.5 + random(), decision }));
  }
  const spine = ["0"];
  for (;;) {
    const next = nodes.find((each) => each.parent_id === spine.at(-1) && each.decision !== "discarded");
    if (next === undefined || spine.length > 6) break;
    spine.push(next.id);
  }
  return chain(nodes, spine);
}

test("every node has its place, none over another, each at its sample", () => {
  for (let seed = 1; seed <= 20; seed++) {
    const open = grown(200, seed);
    const all = layOut(open, true);
    assert.equal(all.places.size, 200);
    assert.equal(all.order.length, 200);
    for (const place of all.places.values()) {
      assert.equal(place.start, startOf(open, place.node.id));
      assert.equal(place.lane === 0, open.spine.includes(place.node.id));
      for (const other of all.places.values())
        if (other !== place && other.lane === place.lane)
          assert.ok(other.start >= place.start + place.length || other.start + other.length <= place.start);
    }
    const folded = layOut(open, false);
    assert.equal(folded.places.size + folded.hidden, 200);
    assert.ok([...folded.places.values()].every(({ node: each }) => each.decision !== "discarded"));
  }
});

test("discarded takes lie below all others", () => {
  const all = layOut(grown(60, 5), true);
  const lanes = (discarded: boolean) =>
    [...all.places.values()]
      .filter(({ node: each }) => (each.decision === "discarded") === discarded)
      .map(({ lane }) => lane);
  assert.ok(Math.min(...lanes(true)) > Math.max(...lanes(false)));
});

test("the takes beside a take are those one may switch to", () => {
  const open = chain(
    [
      node("0", null),
      node("1", "0"),
      node("2", "0", { decision: "discarded" }),
      node("3", "0", { status: "failed" }),
      node("4", "0", { status: "running" }),
    ],
    ["0"],
  );
  const beside = takesBeside(open, open.nodes[1] as NodeView).map(({ id }) => id);
  assert.deepEqual(beside, ["1", "4"]);
});

test("through a node of the spine the whole line is heard", () => {
  const open = chain([node("0", null), node("1", "0"), node("2", "1"), node("3", "0")], ["0", "1", "2"]);
  assert.equal(tipThrough(open, "0")?.id, "2");
  assert.equal(tipThrough(open, "3")?.id, "3");
});
