// The tree of takes on a timeline: a canvas for what is seen, a tree and a slider for hands and ears.
import { computed, effect, signal } from "@preact/signals";
import { useEffect, useLayoutEffect, useMemo, useRef } from "preact/hooks";
import { coloursOf, prepare } from "../canvas/theme.ts";
import { drawTimeline, laneBox, RULER, stageHeight } from "../canvas/timeline.ts";
import type { Chain, Take } from "../model/chain.ts";
import { drawnZoom } from "../model/levels.ts";
import { barAt, clock, snap } from "../model/time.ts";
import {
  isDiscarded,
  isReady,
  isUnfinished,
  type Layout,
  layOut,
  type Place,
  rateOf,
} from "../model/tree.ts";
import { sureRhythm } from "../state/analyses.ts";
import { arrived, peaksOf } from "../state/peaks.ts";
import {
  audibleEnd,
  blind,
  heardId,
  listenTo,
  liveLength,
  player,
  playing,
  position,
  seek,
} from "../state/sound.ts";
import { chain, progress, selectedId, takeName } from "../state/store.ts";
import { theme } from "../state/theme.ts";
import { words } from "../words.ts";
import { Button } from "./controls.tsx";
import { RegionBar, RegionMark, regionDrag } from "./Region.tsx";

const MIN_PX_PER_S = 0.5;
const MAX_PX_PER_S = 600;

export const pxPerSecond = signal(20);
export const showDiscarded = signal(false);
const following = signal(true);
const fitted = signal<string | null>(null);

const layout = computed<Layout | null>(() =>
  chain.value === null ? null : layOut(chain.value, showDiscarded.value),
);

let scroller: HTMLDivElement | null = null;

export function zoomBy(factor: number, aroundPx?: number): void {
  const before = pxPerSecond.peek();
  const after = Math.min(MAX_PX_PER_S, Math.max(MIN_PX_PER_S, before * factor));
  if (scroller === null) return;
  const around = aroundPx ?? scroller.clientWidth / 2;
  const seconds = (scroller.scrollLeft + around) / before;
  pxPerSecond.value = after;
  requestAnimationFrame(() => {
    if (scroller !== null) scroller.scrollLeft = seconds * after - around;
  });
}

export function fit(): void {
  const all = layout.peek();
  const open = chain.peek();
  if (all === null || open === null || scroller === null || all.end === 0) return;
  const seconds = all.end / rateOf(open);
  pxPerSecond.value = Math.min(MAX_PX_PER_S, Math.max(MIN_PX_PER_S, (scroller.clientWidth - 24) / seconds));
  scroller.scrollLeft = 0;
}

/** Seconds of the whole timeline. */
export function timelineEnd(): number {
  const open = chain.peek();
  return open === null ? 0 : (layout.peek()?.end ?? 0) / rateOf(open);
}

/** Where an edge of a region may want to lie: beats of the line, edges of takes; seconds. */
function edges(open: Chain): number[] {
  const places = [...(layout.peek()?.places.values() ?? [])];
  const rate = rateOf(open);
  return [
    ...allBeats(open),
    ...places.flatMap(({ start, length }) => [start / rate, (start + length) / rate]),
  ];
}

export function focusTake(id: string): void {
  selectedId.value = id;
  requestAnimationFrame(() => document.getElementById(`take-${id}`)?.focus());
}

export function Timeline({ open }: { open: Chain }) {
  const holder = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const all = layout.value;
  const scale = pxPerSecond.value;
  const rate = rateOf(open);
  const pxPerSample = scale / rate;

  useLayoutEffect(() => {
    scroller = holder.current;
    if (fitted.peek() !== open.id && all !== null && all.end > 0) {
      fitted.value = open.id;
      fit();
    }
  }, [open.id, all?.end]);

  useEffect(() => {
    let frame = 0;
    const redraw = () => {
      cancelAnimationFrame(frame);
      frame = requestAnimationFrame(draw);
    };
    const draw = () => {
      const [box, sheet, shown] = [holder.current, canvas.current, layout.peek()];
      const now = chain.peek();
      if (box === null || sheet === null || shown === null || now === null) return;
      const context = prepare(sheet, box.clientWidth, box.clientHeight);
      if (context === null) return;
      drawTimeline(context, {
        width: box.clientWidth,
        height: box.clientHeight,
        left: box.scrollLeft,
        top: box.scrollTop,
        pxPerSample: pxPerSecond.peek() / rateOf(now),
        rate: rateOf(now),
        layout: shown,
        spine: new Set(now.spine),
        chosen: blind.peek() === null ? selectedId.peek() : null,
        heard: blind.peek() === null ? heardId.peek() : null,
        peaks: (node) => peaksOf(now.id, node),
        progress: (node) => progress.peek().get(node.id)?.progress ?? node.progress,
        rhythm: (node) => sureRhythm(now.id, node),
        zoom: drawnZoom(now.nodes),
        colours: coloursOf(sheet),
      });
    };
    const stop = effect(() => {
      void [
        layout.value,
        pxPerSecond.value,
        arrived.value,
        liveLength.value,
        progress.value,
        selectedId.value,
      ];
      void [heardId.value, theme.value, blind.value];
      redraw();
    });
    const box = holder.current;
    const sized = new ResizeObserver(redraw);
    if (box) sized.observe(box);
    box?.addEventListener("scroll", redraw, { passive: true });
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", redraw);
    return () => {
      stop();
      sized.disconnect();
      box?.removeEventListener("scroll", redraw);
      dark.removeEventListener("change", redraw);
      cancelAnimationFrame(frame);
    };
  }, []);

  // The pages turn with the playhead.
  useEffect(
    () =>
      effect(() => {
        const x = position.value * (pxPerSecond.value / rateOf(chain.peek() ?? open));
        const box = holder.current;
        if (box === null || !playing.value || !following.value) return;
        if (x < box.scrollLeft || x > box.scrollLeft + box.clientWidth - 24)
          box.scrollLeft = Math.max(0, x - 48);
      }),
    [],
  );

  const onWheel = (event: WheelEvent) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const box = holder.current as HTMLDivElement;
    zoomBy(Math.exp(-event.deltaY / 300), event.clientX - box.getBoundingClientRect().left);
  };

  if (all === null) return null;
  const width = Math.max(1, all.end * pxPerSample + 24);
  const height = stageHeight(all.lanes);
  return (
    <section class="timeline" aria-label={words.timeline.label}>
      <div
        class="scroller"
        ref={holder}
        onWheel={onWheel}
        {...regionDrag({
          secondsAt: (clientX) => {
            const box = holder.current as HTMLDivElement;
            return (clientX - box.getBoundingClientRect().left + box.scrollLeft) / pxPerSecond.peek();
          },
          edges: () => edges(open),
          within: () => 6 / pxPerSecond.peek(),
          end: timelineEnd,
        })}
      >
        <div class="stage" style={{ width: `${width}px`, height: `${height}px` }}>
          <div class="sheet-holder">
            <canvas class="sheet" ref={canvas} aria-hidden="true" />
          </div>
          <Ruler open={open} pxPerSample={pxPerSample} width={width} />
          <Tree open={open} layout={all} pxPerSample={pxPerSample} />
          <RegionMark pxPerSecond={scale} height={height} end={all.end / rate} edges={() => edges(open)} />
          <Playhead pxPerSample={pxPerSample} height={height} />
        </div>
      </div>
      <div class="timeline-tools">
        <Button
          label={words.timeline.zoomOut}
          icon="minus"
          bare
          kind="quiet"
          shortcut="-"
          onClick={() => zoomBy(1 / 1.5)}
        />
        <Button
          label={words.timeline.zoomIn}
          icon="plus"
          bare
          kind="quiet"
          shortcut="+"
          onClick={() => zoomBy(1.5)}
        />
        <Button label={words.timeline.fit} icon="fit" bare kind="quiet" shortcut="0" onClick={fit} />
        <Button
          label={words.timeline.follow}
          icon="follow"
          bare
          kind="quiet"
          pressed={following.value}
          onClick={() => {
            following.value = !following.value;
          }}
        />
        {(all.hidden > 0 || showDiscarded.value) && (
          <Button
            label={showDiscarded.value ? words.timeline.hideDiscarded : words.timeline.discarded(all.hidden)}
            kind="quiet"
            pressed={showDiscarded.value}
            onClick={() => {
              showDiscarded.value = !showDiscarded.value;
            }}
          />
        )}
        <RegionBar open={open} end={all.end / rate} />
      </div>
    </section>
  );
}

function Playhead({ pxPerSample, height }: { pxPerSample: number; height: number }) {
  const line = useRef<HTMLDivElement>(null);
  useEffect(
    () =>
      effect(() => {
        if (line.current) line.current.style.transform = `translateX(${position.value * pxPerSample}px)`;
      }),
    [pxPerSample],
  );
  return <div class="playhead" ref={line} style={{ height: `${height}px` }} aria-hidden="true" />;
}

/** The playhead as a slider: it is dragged on the ruler, moved by arrows, and speaks its time. */
function Ruler({ open, pxPerSample, width }: { open: Chain; pxPerSample: number; width: number }) {
  const rate = rateOf(open);
  const slider = useRef<HTMLDivElement>(null);
  const dragging = useRef(false);

  useEffect(
    () =>
      effect(() => {
        const element = slider.current;
        const seconds = Math.floor(position.value / rate);
        const end = audibleEnd.value / rate;
        if (element === null) return;
        const bar = barText(open, position.peek());
        const text = words.timeline.at(clock(seconds, 0), clock(end, 0), bar);
        if (element.getAttribute("aria-valuetext") === text) return;
        element.setAttribute("aria-valuemax", String(Math.round(end)));
        element.setAttribute("aria-valuenow", String(Math.min(seconds, Math.round(end))));
        element.setAttribute("aria-valuetext", text);
      }),
    [open, rate],
  );

  const seekTo = (event: PointerEvent) => {
    const left = (slider.current as HTMLDivElement).getBoundingClientRect().left;
    const seconds = (event.clientX - left) / (pxPerSample * rate);
    const beats = event.shiftKey ? [] : allBeats(open);
    seek(snap(seconds, beats, 6 / (pxPerSample * rate)) * rate);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 }[
      event.key
    ];
    if (step !== undefined) seek(position.peek() + step * rate);
    else if (event.key === "Home") seek(0);
    else if (event.key === "End") seek(audibleEnd.peek());
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    <div
      class="ruler"
      ref={slider}
      role="slider"
      tabIndex={0}
      aria-label={words.timeline.playhead}
      aria-valuemin={0}
      aria-valuemax={0}
      aria-valuenow={0}
      style={{ width: `${width}px`, height: `${RULER}px` }}
      onKeyDown={onKeyDown}
      onPointerDown={(event) => {
        dragging.current = true;
        event.currentTarget.setPointerCapture(event.pointerId);
        seekTo(event);
      }}
      onPointerMove={(event) => dragging.current && seekTo(event)}
      onPointerUp={() => {
        dragging.current = false;
      }}
    />
  );
}

function allBeats(open: Chain): number[] {
  const places = layout.peek()?.places;
  if (!places) return [];
  return open.spine.flatMap((id) => {
    const place = places.get(id);
    const rhythm = place && sureRhythm(open.id, place.node as Take);
    return place && rhythm ? rhythm.beats.map((beat) => beat + place.start / rateOf(open)) : [];
  });
}

/** "bar 5, beat 2" where a take of the line has sure beats. */
export function barText(open: Chain, sample: number): string | null {
  const places = layout.peek()?.places;
  for (const id of open.spine) {
    const place = places?.get(id);
    if (!place || sample < place.start || sample >= place.start + place.length) continue;
    const rhythm = sureRhythm(open.id, place.node as Take);
    const found = rhythm && barAt((sample - place.start) / rateOf(open), rhythm.beats, rhythm.downbeats);
    return found ? words.timeline.bar(found.bar, found.beat) : null;
  }
  return null;
}

function Tree({ open, layout: all, pxPerSample }: { open: Chain; layout: Layout; pxPerSample: number }) {
  const families = useMemo(() => Map.groupBy(all.order, (place) => place.node.parent_id), [all]);
  const around = useMemo(() => neighbours(all), [all]);
  const onKeyDown = (event: KeyboardEvent) => {
    const at = around.get(selectedId.peek() ?? "");
    const target = at?.[event.key];
    if (target === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    focusTake(target);
  };
  const chosen = selectedId.value;
  const focusable = all.places.has(chosen ?? "") ? chosen : all.order[0]?.node.id;
  return (
    <div class="tree" role="tree" aria-label={words.timeline.label} onKeyDown={onKeyDown}>
      {all.order.map((place) => (
        <Clip
          key={place.node.id}
          open={open}
          place={place}
          pxPerSample={pxPerSample}
          siblings={families.get(place.node.parent_id) ?? []}
          hasChildren={families.has(place.node.id)}
          focusable={focusable === place.node.id}
        />
      ))}
    </div>
  );
}

type ClipProps = {
  open: Chain;
  place: Place;
  pxPerSample: number;
  siblings: Place[];
  hasChildren: boolean;
  focusable: boolean;
};

function Clip({ open, place, pxPerSample, siblings, hasChildren, focusable }: ClipProps) {
  const node = place.node as Take;
  const rate = rateOf(open);
  const { top, height } = laneBox(place.lane);
  const chosen = selectedId.value === node.id && blind.value === null;
  const name = takeName(open, node);
  const told = isUnfinished(node) ? progress.value.get(node.id) : undefined;
  const percent = Math.round(100 * (told?.progress ?? node.progress));
  const state =
    isUnfinished(node) || !isReady(node) ? words.take.state[node.status] : words.take.decision[node.decision];
  const label = words.take.spoken(name, place.start / rate, place.length / rate, state ?? node.status);
  return (
    <div
      id={`take-${node.id}`}
      class={`clip ${place.lane === 0 ? "on-line" : ""} ${isDiscarded(node) ? "is-discarded" : ""} ${node.status}`}
      role="treeitem"
      tabIndex={focusable ? 0 : -1}
      aria-selected={chosen}
      aria-level={place.depth + 1}
      aria-setsize={siblings.length}
      aria-posinset={siblings.indexOf(place) + 1}
      aria-expanded={hasChildren ? true : undefined}
      aria-label={[label, ...tagsOf(node, percent).map(([kind, text]) => spokenTag(kind, text, node))].join(
        ", ",
      )}
      style={{
        left: `${place.start * pxPerSample}px`,
        top: `${top}px`,
        width: `${Math.max(6, place.length * pxPerSample - 1)}px`,
        height: `${height}px`,
      }}
      onClick={() => focusTake(node.id)}
      onFocus={() => {
        if (selectedId.peek() !== node.id) selectedId.value = node.id;
      }}
      onDblClick={(event) => {
        const within = (event.clientX - event.currentTarget.getBoundingClientRect().left) / pxPerSample;
        void listenTo(node).then(() => isReady(node) && player.seek(place.start + within));
      }}
    >
      <span class="clip-head">
        <span class="clip-name">{name}</span>
        <span class="clip-facts">
          {tagsOf(node, percent).map(([kind, text]) => (
            <span key={kind} class={`tag ${kind}`} data-text={text} />
          ))}
        </span>
      </span>
    </div>
  );
}

/** What a clip shows beside its name, each with its kind. */
function tagsOf(node: Take, percent: number): [string, string][] {
  const tags: [string, string | null | undefined][] = [
    ["live", isUnfinished(node) ? (node.status === "pending" ? queueText(node) : `${percent} %`) : null],
    ["bad", node.status === "failed" ? words.take.state.failed : null],
    ["rank", node.analysis?.rank == null ? null : words.take.rank(node.analysis.rank)],
    ["star", node.stars ? String(node.stars) : null],
    ["fact bpm", node.analysis?.bpm == null ? null : words.facts.bpm(Math.round(node.analysis.bpm))],
    ["fact key", node.analysis?.key],
  ];
  return tags.filter((tag): tag is [string, string] => tag[1] != null);
}

const spokenTag = (kind: string, text: string, node: Take) =>
  kind === "star" ? words.take.starsOf(node.stars ?? 0) : text;

function queueText(node: Take): string {
  const place = progress.value.get(node.id)?.queue_position;
  return place == null ? (words.take.state.pending as string) : words.take.queue(place);
}

/** Where each arrow leads from each take. */
function neighbours(all: Layout): Map<string, Record<string, string>> {
  const found = new Map<string, Record<string, string>>();
  const byLane = [...all.order].sort((one, other) => one.lane - other.lane || one.start - other.start);
  all.order.forEach((place) => {
    const { node } = place;
    const ways: Record<string, string> = {};
    const overlaps = byLane.filter(
      (other) => other.start < place.start + place.length && other.start + other.length > place.start,
    );
    const at = overlaps.indexOf(place);
    const [above, below] = [overlaps[at - 1], overlaps[at + 1]];
    if (above) ways.ArrowUp = above.node.id;
    if (below) ways.ArrowDown = below.node.id;
    if (node.parent_id !== null && all.places.has(node.parent_id)) ways.ArrowLeft = node.parent_id;
    const child = all.order
      .filter((other) => other.node.parent_id === node.id)
      .sort((one, other) => one.lane - other.lane)[0];
    if (child) ways.ArrowRight = child.node.id;
    if (all.order[0]) ways.Home = all.order[0].node.id;
    const last = all.order.at(-1);
    if (last) ways.End = last.node.id;
    found.set(node.id, ways);
  });
  return found;
}
