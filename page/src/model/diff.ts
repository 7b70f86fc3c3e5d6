// How two branches differ: rows of bars or windows as they are read.
import type { DiffRowView } from "../api/schema.ts";

/** A row to show: one bar or window that differs, or a run of those that are the same. `first` and `last` count from 1. */
export type ShownRow = { first: number; last: number; row: DiffRowView };

/** Equal rows in a row are one. */
export function gathered(rows: DiffRowView[]): ShownRow[] {
  const shown: ShownRow[] = [];
  rows.forEach((row, index) => {
    const before = shown.at(-1);
    if (row.same && before?.row.same) {
      before.last = index + 1;
      before.row = { ...before.row, a_to_s: row.a_to_s, b_to_s: row.b_to_s };
    } else shown.push({ first: index + 1, last: index + 1, row: { ...row } });
  });
  return shown;
}

const LOUD_LU = 12;

/** How much a row differs, 0 to 1, for a colour; a bar that only one branch has differs wholly. */
export function strength(row: DiffRowView): number {
  if (row.same) return 0;
  if (row.chroma === null || row.onsets === null || row.loudness === null) return 1;
  const most = Math.max(row.chroma, row.onsets, Math.abs(row.loudness) / LOUD_LU);
  return Math.min(1, 0.15 + 0.85 * most);
}
