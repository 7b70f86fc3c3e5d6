// The region of the timeline that is exported, cropped to, looped.
import { signal } from "@preact/signals";
import { type Region, regionOf } from "../model/region.ts";

export const region = signal<Region | null>(null);

/** Moves one edge of it, where there is none yet from the other end of the timeline on. `end`: seconds of it. */
export function setEdge(edge: keyof Region, seconds: number, end: number): void {
  const { from, to } = region.peek() ?? { from: 0, to: end };
  const made =
    edge === "from"
      ? regionOf(seconds, to > seconds ? to : end, end)
      : regionOf(from < seconds ? from : 0, seconds, end);
  if (made !== null) region.value = made;
}
