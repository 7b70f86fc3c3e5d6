// The tree, drawn: clips where they sound, their waveforms, what joins them, and the grid of bars behind.
import type { Peaks } from "../api/peaks.ts";
import type { Take } from "../model/chain.ts";
import { clock, rulerStep } from "../model/time.ts";
import { isDiscarded, isUnfinished, type Layout, type Place } from "../model/tree.ts";
import type { Rhythm } from "../state/analyses.ts";
import type { Colours } from "./theme.ts";
import { drawWave } from "./waveform.ts";

export const RULER = 28;
export const LINE_HEIGHT = 96;
export const LANE_HEIGHT = 68;
const GAP = 10;
const HEAD = 22;

/** The box of a lane, from the top of the stage. */
export function laneBox(lane: number): { top: number; height: number } {
  if (lane === 0) return { top: RULER + GAP, height: LINE_HEIGHT };
  return { top: RULER + 2 * GAP + LINE_HEIGHT + (lane - 1) * (LANE_HEIGHT + GAP), height: LANE_HEIGHT };
}

export function stageHeight(lanes: number): number {
  const { top, height } = laneBox(Math.max(0, lanes - 1));
  return top + height + GAP;
}

export type Scene = {
  width: number;
  height: number;
  left: number;
  top: number;
  pxPerSample: number;
  rate: number;
  layout: Layout;
  spine: Set<string>;
  chosen: string | null;
  heard: string | null;
  peaks: (node: Take) => Peaks | null;
  progress: (node: Take) => number;
  rhythm: (node: Take) => Rhythm | null;
  /** How much higher than they are levels are drawn: a quiet chain is still seen. */
  zoom: number;
  colours: Colours;
};

export function drawTimeline(context: CanvasRenderingContext2D, scene: Scene): void {
  const { colours, width, height } = scene;
  const visible = [...scene.layout.places.values()].filter((place) => isVisible(scene, place));
  drawGrid(context, scene, visible);
  context.lineWidth = 1.5;
  context.strokeStyle = colours.link;
  for (const place of scene.layout.places.values()) drawLink(context, scene, place);
  context.save();
  context.beginPath();
  context.rect(0, RULER, width, height - RULER);
  context.clip();
  for (const place of visible) drawClip(context, scene, place);
  context.restore();
  drawRuler(context, scene);
}

const xOf = (scene: Scene, sample: number) => sample * scene.pxPerSample - scene.left;

function isVisible(scene: Scene, place: Place): boolean {
  const { top, height } = laneBox(place.lane);
  const x = xOf(scene, place.start);
  return (
    x < scene.width &&
    x + place.length * scene.pxPerSample > 0 &&
    top - scene.top < scene.height &&
    top + height - scene.top > RULER
  );
}

function drawClip(context: CanvasRenderingContext2D, scene: Scene, place: Place): void {
  const { colours, pxPerSample } = scene;
  const node = place.node as Take;
  const { top, height } = laneBox(place.lane);
  const x = xOf(scene, place.start);
  const y = top - scene.top;
  const width = Math.max(2, place.length * pxPerSample - 1);
  const onLine = scene.spine.has(node.id);
  context.globalAlpha =
    isDiscarded(node) || node.status === "cancelled" || node.status === "failed" ? 0.45 : 1;
  context.fillStyle = onLine ? colours.line : colours.clip;
  context.beginPath();
  context.roundRect(x, y, width, height, Math.min(6, width / 2));
  context.fill();
  context.save();
  context.clip();
  const heard = scene.heard === node.id;
  context.fillStyle = onLine ? colours.waveLine : heard ? colours.heard : colours.wave;
  const peaks = scene.peaks(node);
  const box = { x, y: y + HEAD, width, height: height - HEAD - 6 };
  if (isUnfinished(node)) {
    context.fillStyle = colours.live;
    context.globalAlpha *= 0.16;
    context.fillRect(x, y, width * scene.progress(node), height);
    context.globalAlpha = 1;
    context.fillRect(x + width * scene.progress(node) - 1, y, 1.5, height);
  }
  if (peaks !== null) drawWave(context, peaks, box, 1 / pxPerSample, 0, scene.width, scene.zoom);
  context.restore();
  if (place.start > 0 && node.audio) {
    context.fillStyle = colours.seam; // the seam: where the take takes over
    context.fillRect(x, y + 6, 1.5, height - 12);
  }
  context.lineWidth = scene.chosen === node.id ? 2 : 1;
  context.strokeStyle =
    scene.chosen === node.id ? colours.chosen : onLine ? colours.lineEdge : colours.clipEdge;
  context.setLineDash(isUnfinished(node) ? [4, 3] : []);
  context.beginPath();
  context.roundRect(x + 0.5, y + 0.5, Math.max(1, width - 1), height - 1, Math.min(6, width / 2));
  context.stroke();
  context.setLineDash([]);
  context.globalAlpha = 1;
}

/** From the end of the parent down to the take. */
function drawLink(context: CanvasRenderingContext2D, scene: Scene, place: Place): void {
  const parent = scene.layout.places.get(place.node.parent_id ?? "");
  if (parent === undefined || parent.lane === place.lane) return;
  const x = Math.round(xOf(scene, place.start));
  if (x < -10 || x > scene.width + 10) return;
  const from = laneBox(parent.lane);
  const to = laneBox(place.lane);
  const y0 = from.top + from.height / 2 - scene.top;
  const y1 = to.top + to.height / 2 - scene.top;
  context.globalAlpha = isDiscarded(place.node) ? 0.4 : 1;
  context.beginPath();
  context.moveTo(x - 0.5, Math.max(RULER, y0));
  context.lineTo(x - 0.5, Math.max(RULER, y1));
  context.stroke();
  context.globalAlpha = 1;
}

function drawGrid(context: CanvasRenderingContext2D, scene: Scene, visible: Place[]): void {
  const { colours, rate } = scene;
  for (const place of visible) {
    if (place.lane !== 0) continue;
    const rhythm = scene.rhythm(place.node as Take);
    if (rhythm === null) continue;
    const tight = (60 / (rhythm.bpm ?? 120)) * rate * scene.pxPerSample < 8;
    context.fillStyle = colours.grid;
    if (!tight)
      for (const beat of rhythm.beats)
        context.fillRect(Math.round(xOf(scene, place.start + beat * rate)), RULER, 1, scene.height);
    context.fillStyle = colours.bar;
    for (const bar of rhythm.downbeats)
      context.fillRect(Math.round(xOf(scene, place.start + bar * rate)), RULER, 1, scene.height);
  }
}

function drawRuler(context: CanvasRenderingContext2D, scene: Scene): void {
  const { colours, rate } = scene;
  const pxPerSecond = scene.pxPerSample * rate;
  const step = rulerStep(pxPerSecond);
  context.fillStyle = colours.text;
  context.font = "11px ui-sans-serif, system-ui, sans-serif";
  context.textBaseline = "middle";
  const first = Math.floor(scene.left / pxPerSecond / step);
  const last = Math.ceil((scene.left + scene.width) / pxPerSecond / step);
  for (let mark = first; mark <= last; mark++) {
    const seconds = mark * step;
    const x = Math.round(seconds * pxPerSecond - scene.left);
    context.globalAlpha = 0.5;
    context.fillRect(x, RULER - 7, 1, 7);
    for (let minor = 1; minor < 5; minor++)
      context.fillRect(Math.round(x + (minor * step * pxPerSecond) / 5), RULER - 4, 1, 4);
    context.globalAlpha = 1;
    context.fillText(clock(seconds, step < 1 ? 1 : 0), x + 4, 11);
  }
}
