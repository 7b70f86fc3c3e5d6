// A part of the timeline: for an export, a crop, a loop.

/** Seconds of the timeline. */
export type Region = { from: number; to: number };

/** The shortest that a take may be. */
export const SHORTEST_S = 0.1;

const ms = (seconds: number) => Math.round(seconds * 1000) / 1000;

/** From one end to the other, whichever comes first, within a timeline of `end` seconds; null where nothing of it is
 * left. */
export function regionOf(one: number, other: number, end: number): Region | null {
  const inside = (seconds: number) => ms(Math.min(end, Math.max(0, seconds)));
  const [from, to] = [inside(Math.min(one, other)), inside(Math.max(one, other))];
  return to > from ? { from, to } : null;
}

/** What of a take lies in the region, in seconds of the take, which begins at `start` and lasts `length`; null where
 * that is all of it, or too short to be a take. */
export function partOf(region: Region, start: number, length: number): Region | null {
  const from = ms(Math.max(0, region.from - start));
  const to = Math.min(length, ms(region.to - start));
  if (to - from < SHORTEST_S || (from === 0 && to === length)) return null;
  return { from, to };
}
