// Waveforms: peaks made by the server, one fetch a node; of nodes being made, what has arrived.
import { signal } from "@preact/signals";
import { ApiError } from "../api/client.ts";
import { Peaks } from "../api/peaks.ts";
import type { Take } from "../model/chain.ts";
import { live } from "./sound.ts";
import { client } from "./store.ts";

const known = new Map<string, Peaks | "asked" | "none">();
/** Counts what has arrived, for who draws. */
export const arrived = signal(0);

const MAX_ASKED = 2;
const waiting: [string, Take][] = [];
let asked = 0;

/** The peaks of a node, if they are here; else they are asked for. */
export function peaksOf(chainId: string, node: Take): Peaks | null {
  const followed = live.peek();
  if (followed?.nodeId === node.id && node.audio == null) return followed.peaks;
  if (node.audio == null) return null;
  const key = `${node.id}:${node.audio.sha256}`;
  const found = known.get(key);
  if (found instanceof Peaks) return found;
  if (found === undefined) {
    known.set(key, "asked");
    waiting.push([chainId, node]);
    next();
  }
  return followed?.nodeId === node.id ? followed.peaks : null;
}

function next(): void {
  while (asked < MAX_ASKED) {
    const one = waiting.pop();
    if (one === undefined) return;
    asked++;
    void fetchPeaks(...one).finally(() => {
      asked--;
      arrived.value++;
      next();
    });
  }
}

async function fetchPeaks(chainId: string, node: Take): Promise<void> {
  const key = `${node.id}:${node.audio?.sha256}`;
  try {
    const answer = await client.request(`v1/chains/${chainId}/nodes/${node.id}/peaks`);
    known.set(key, Peaks.parse(await answer.arrayBuffer()));
  } catch (error) {
    if (error instanceof ApiError && (error.status === 404 || error.status === 405)) known.set(key, "none");
    else setTimeout(() => known.delete(key), 3000);
  }
}
