// The chain's tree on the timeline: where each take sounds, and in which lane it is drawn.
import type { ChainView, NodeView } from "../api/schema.ts";

export type Place = { node: NodeView; start: number; length: number; lane: number; depth: number };
export type Layout = {
  places: Map<string, Place>;
  order: Place[];
  lanes: number;
  end: number;
  hidden: number;
};

export const isUnfinished = (node: NodeView) => node.status === "pending" || node.status === "running";
export const isReady = (node: NodeView) => node.status === "ready";
export const isDiscarded = (node: NodeView) => node.decision === "discarded";

/** The rate of the timeline; 44,100 until a chain has sound. */
export const rateOf = (chain: ChainView) => chain.sample_rate_hz ?? 44_100;

export const samplesOf = (chain: ChainView, node: NodeView) =>
  node.audio?.samples ?? Math.round(node.duration_s * rateOf(chain));

export function byId(chain: ChainView): Map<string, NodeView> {
  return new Map(chain.nodes.map((node) => [node.id, node]));
}

export function children(chain: ChainView, id: string | null): NodeView[] {
  return chain.nodes
    .filter((node) => node.parent_id === id)
    .sort((one, other) => one.created_at.localeCompare(other.created_at) || one.take - other.take);
}

/** The takes beside a node, itself among them, without those that are discarded or failed. */
export function takesBeside(chain: ChainView, node: NodeView): NodeView[] {
  return children(chain, node.parent_id).filter(
    (take) => !isDiscarded(take) && (isReady(take) || isUnfinished(take)),
  );
}

/** From the root to the node. */
export function pathTo(chain: ChainView, id: string): NodeView[] {
  const nodes = byId(chain);
  const path: NodeView[] = [];
  for (let at = nodes.get(id); at; at = at.parent_id === null ? undefined : nodes.get(at.parent_id))
    path.unshift(at);
  return path;
}

/** Where a node's first sample lies on the timeline. */
export function startOf(chain: ChainView, id: string): number {
  return pathTo(chain, id)
    .slice(0, -1)
    .reduce((sum, node) => sum + samplesOf(chain, node), 0);
}

/** The end of the line that is heard through a node: the spine's last for one of the spine, else itself. */
export function tipThrough(chain: ChainView, id: string): NodeView | undefined {
  const nodes = byId(chain);
  if (!chain.spine.includes(id)) return nodes.get(id);
  return chain.spine
    .map((each) => nodes.get(each))
    .filter((node) => node !== undefined && isReady(node))
    .at(-1);
}

/** Places every node: the spine in lane 0, each other in the lowest lane that is free where it sounds, discarded
 * ones below all others, or nowhere where they are folded away. */
export function layOut(chain: ChainView, showDiscarded: boolean): Layout {
  const places = new Map<string, Place>();
  const taken: { start: number; end: number }[][] = [];
  const spine = new Set(chain.spine);
  let end = 0;
  let hidden = 0;

  const free = (lane: number, start: number, stop: number) =>
    (taken[lane] ?? []).every((span) => stop <= span.start || start >= span.end);

  const put = (node: NodeView, start: number, depth: number, lowest: number): Place => {
    const length = samplesOf(chain, node);
    let lane = spine.has(node.id) ? 0 : Math.max(1, lowest);
    if (lane > 0) while (!free(lane, start, start + length)) lane++;
    taken[lane] = [...(taken[lane] ?? []), { start, end: start + length }];
    const place = { node, start, length, lane, depth };
    places.set(node.id, place);
    end = Math.max(end, start + length);
    return place;
  };

  const discarded: { node: NodeView; start: number; depth: number }[] = [];
  const walk = (node: NodeView, start: number, depth: number, lowest: number) => {
    if (isDiscarded(node)) {
      discarded.push({ node, start, depth });
      return;
    }
    const place = put(node, start, depth, lowest);
    const next = children(chain, node.id);
    const onSpine = next.filter((child) => spine.has(child.id));
    const others = next.filter((child) => !spine.has(child.id));
    for (const child of [...onSpine, ...others])
      walk(child, start + place.length, depth + 1, place.lane === 0 ? 1 : place.lane);
  };
  // A crop of the first node has no parent either.
  const roots = children(chain, null);
  for (const root of roots.filter((each) => spine.has(each.id))) walk(root, 0, 0, 0);
  for (const root of roots.filter((each) => !spine.has(each.id))) walk(root, 0, 0, 1);

  const below = taken.length;
  const bury = (node: NodeView, start: number, depth: number) => {
    if (!showDiscarded) {
      hidden++;
      for (const child of children(chain, node.id)) bury(child, 0, depth + 1);
      return;
    }
    const place = put(node, start, depth, below);
    for (const child of children(chain, node.id)) bury(child, start + place.length, depth + 1);
  };
  for (const { node, start, depth } of discarded) bury(node, start, depth);
  return { places, order: inOrder(chain, places), lanes: Math.max(1, taken.length), end, hidden };
}

/** Depth first, as a tree is read. */
function inOrder(chain: ChainView, places: Map<string, Place>): Place[] {
  const order: Place[] = [];
  const visit = (id: string) => {
    const place = places.get(id);
    if (place) order.push(place);
    for (const child of children(chain, id)) visit(child.id);
  };
  for (const root of children(chain, null)) visit(root.id);
  return order;
}
