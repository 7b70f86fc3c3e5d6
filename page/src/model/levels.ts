// Takes brought to one loudness, for a comparison that level does not decide.
import type { NodeView } from "../api/schema.ts";

/** A gain for each take, at most 1: all as loud as the quietest, by LUFS where all have it, else by RMS. */
export function matchedGains(takes: NodeView[]): Map<string, number> {
  const lufs = takes.map((take) => take.analysis?.integrated_lufs ?? null);
  const levels = lufs.every((level) => level !== null)
    ? lufs
    : takes.map((take) => take.audio?.rms_dbfs ?? null);
  const known = levels.filter((level) => level !== null && Number.isFinite(level) && level > -60) as number[];
  const quietest = Math.min(...known);
  return new Map(
    takes.map((take, index) => {
      const level = levels[index];
      return [take.id, level == null || level <= -60 ? 1 : 10 ** ((quietest - level) / 20)];
    }),
  );
}

/** The order of a blind comparison: the same for one seed. */
export function shuffled<T>(items: T[], random: () => number = Math.random): T[] {
  const mixed = [...items];
  for (let index = mixed.length - 1; index > 0; index--) {
    const other = Math.floor(random() * (index + 1));
    [mixed[index], mixed[other]] = [mixed[other] as T, mixed[index] as T];
  }
  return mixed;
}

/** How much higher waveforms may be drawn so that the loudest fills its lane; at most 8 times. */
export function drawnZoom(takes: NodeView[]): number {
  const peaks = takes.map((take) => take.audio?.peak_dbfs ?? Number.NEGATIVE_INFINITY);
  const loudest = Math.max(Number.NEGATIVE_INFINITY, ...peaks);
  return Number.isFinite(loudest) ? Math.min(8, Math.max(1, 0.92 / 10 ** (loudest / 20))) : 1;
}
