// A waveform as one filled shape: the extremes of each column of pixels.
import type { Peaks } from "../api/peaks.ts";

export type Box = { x: number; y: number; width: number; height: number };

/** Draws from the first sample on, `samplesPerPx` in each column, only between `clipLeft` and `clipRight`; levels are
 * shown `zoom` times as high. */
export function drawWave(
  context: CanvasRenderingContext2D,
  peaks: Peaks,
  box: Box,
  samplesPerPx: number,
  clipLeft: number,
  clipRight: number,
  zoom = 1,
): void {
  const left = Math.max(0, Math.floor(clipLeft - box.x));
  const right = Math.min(Math.ceil(box.width), Math.ceil(clipRight - box.x));
  if (right <= left) return;
  const perBlock = peaks.samplesPerBlock;
  const middle = box.y + box.height / 2;
  const scale = (zoom * box.height) / 2 / 128;
  const available = peaks.length * perBlock;
  context.beginPath();
  for (let column = left; column < right; column++) {
    const sample = column * samplesPerPx;
    if (sample >= available) break;
    const [low, high] = peaks.range(sample / perBlock, (sample + samplesPerPx) / perBlock);
    const top = Math.max(box.y, middle - high * scale);
    const bottom = Math.min(box.y + box.height, middle - low * scale);
    context.rect(box.x + column, top, 1, Math.max(1, bottom - top));
  }
  context.fill();
}
