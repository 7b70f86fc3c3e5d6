// A waveform as one filled shape: the extremes of each column of pixels.
import type { Peaks } from "../api/peaks.ts";

export type Box = { x: number; y: number; width: number; height: number };

/** Draws the samples from `from` on, `samplesPerPx` in each column, only between `clipLeft` and `clipRight`. */
export function drawWave(
  context: CanvasRenderingContext2D,
  peaks: Peaks,
  box: Box,
  samplesPerPx: number,
  clipLeft: number,
  clipRight: number,
  from = 0,
): void {
  const left = Math.max(0, Math.floor(clipLeft - box.x));
  const right = Math.min(Math.ceil(box.width), Math.ceil(clipRight - box.x));
  if (right <= left) return;
  const perBlock = peaks.samplesPerBlock;
  const middle = box.y + box.height / 2;
  const scale = box.height / 2 / 128;
  const available = peaks.length * perBlock;
  context.beginPath();
  for (let column = left; column < right; column++) {
    const sample = from + column * samplesPerPx;
    if (sample >= available) break;
    const [low, high] = peaks.range(sample / perBlock, (sample + samplesPerPx) / perBlock);
    const top = middle - high * scale;
    const bottom = middle - low * scale;
    context.rect(box.x + column, top, 1, Math.max(1, bottom - top));
  }
  context.fill();
}
