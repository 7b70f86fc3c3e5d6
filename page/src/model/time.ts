// Times as musicians read them.

/** 73.08 as "1:13.1"; with `digits` 0 as "1:13". */
export function clock(seconds: number, digits = 1): string {
  const scale = 10 ** digits;
  const whole = Math.floor(Math.max(0, seconds) * scale + 1e-6) / scale;
  const minutes = Math.floor(whole / 60);
  const rest = (whole - 60 * minutes).toFixed(digits);
  return `${minutes}:${rest.padStart(digits > 0 ? 3 + digits : 2, "0")}`;
}

/** About how long: "8 s", "1 min 20 s". */
export function span(seconds: number): string {
  if (seconds < 60)
    return `${seconds < 10 && seconds % 1 >= 0.05 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const minutes = Math.floor(Math.round(seconds) / 60);
  const rest = Math.round(seconds) % 60;
  return rest > 0 ? `${minutes} min ${rest} s` : `${minutes} min`;
}

/** A step of the ruler that leaves at least `leastPx` between marks. */
export function rulerStep(pxPerSecond: number, leastPx = 70): number {
  for (const step of [0.1, 0.25, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300])
    if (step * pxPerSecond >= leastPx) return step;
  return 600;
}

/** The bar and beat at a time, from the times of beats and of downbeats; null before the first bar. */
export function barAt(
  seconds: number,
  beats: number[],
  downbeats: number[],
): { bar: number; beat: number } | null {
  const bar = countUpTo(downbeats, seconds);
  if (bar === 0) return null;
  const since = countUpTo(beats, seconds) - countUpTo(beats, (downbeats[bar - 1] as number) - 0.01);
  return { bar, beat: Math.max(1, since) };
}

/** The beat nearest to a time, if one is within `within`. */
export function snap(seconds: number, beats: number[], within: number): number {
  let nearest = seconds;
  let distance = within;
  for (const beat of beats)
    if (Math.abs(beat - seconds) <= distance) [nearest, distance] = [beat, Math.abs(beat - seconds)];
  return nearest;
}

function countUpTo(times: number[], seconds: number): number {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((times[middle] as number) <= seconds + 1e-3) low = middle + 1;
    else high = middle;
  }
  return low;
}
