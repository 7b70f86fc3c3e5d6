// The region: dragged over the waveforms, moved by its edges, typed as numbers, set at the playhead.
import type { Chain, Take } from "../model/chain.ts";
import { partOf, type Region, regionOf } from "../model/region.ts";
import { snap } from "../model/time.ts";
import { isDiscarded, isReady, rateOf, samplesOf, startOf } from "../model/tree.ts";
import { crop } from "../state/actions.ts";
import { region, setEdge } from "../state/region.ts";
import { blind, position } from "../state/sound.ts";
import { dialog, selected, takeName } from "../state/store.ts";
import { words } from "../words.ts";
import { Button } from "./controls.tsx";

const LEAST_PX = 5;

type Drag = {
  secondsAt: (clientX: number) => number;
  /** Where an edge snaps to, and from how far, in seconds. */
  edges: () => number[];
  within: () => number;
  end: () => number;
};

/** A region is made by dragging over takes: with a mouse or a pen, since a finger scrolls. */
export function regionDrag({ secondsAt, edges, within, end }: Drag) {
  let begun: { x: number; seconds: number; edges: number[] } | null = null;
  let dragging = false;
  const at = (event: PointerEvent) => {
    const seconds = secondsAt(event.clientX);
    return event.shiftKey || begun === null ? seconds : snap(seconds, begun.edges, within());
  };
  return {
    onPointerDown(event: PointerEvent) {
      const target = event.target as Element;
      if (event.button !== 0 || event.pointerType === "touch" || target.closest("[role=slider]")) return;
      begun = { x: event.clientX, seconds: 0, edges: edges() };
      begun.seconds = at(event);
      dragging = false;
    },
    onPointerMove(event: PointerEvent & { currentTarget: HTMLElement }) {
      if (begun === null || event.buttons === 0) return;
      if (!dragging && Math.abs(event.clientX - begun.x) < LEAST_PX) return;
      const box = event.currentTarget;
      if (!dragging) box.setPointerCapture(event.pointerId);
      dragging = true;
      const { left, right } = box.getBoundingClientRect();
      if (event.clientX > right - 16) box.scrollLeft += 16;
      else if (event.clientX < left + 16) box.scrollLeft -= 16;
      region.value = regionOf(begun.seconds, at(event), end()) ?? region.peek();
    },
    onPointerUp() {
      begun = null;
    },
  };
}

/** The region on the stage, with an edge at each end. */
export function RegionMark(props: {
  pxPerSecond: number;
  height: number;
  end: number;
  edges: () => number[];
}) {
  const chosen = region.value;
  if (chosen === null) return null;
  const left = chosen.from * props.pxPerSecond;
  const width = Math.max(1, (chosen.to - chosen.from) * props.pxPerSecond);
  return (
    <div class="region" style={{ left: `${left}px`, width: `${width}px`, height: `${props.height}px` }}>
      <Edge edge="from" chosen={chosen} {...props} />
      <Edge edge="to" chosen={chosen} {...props} />
    </div>
  );
}

function Edge(props: {
  edge: keyof Region;
  chosen: Region;
  pxPerSecond: number;
  end: number;
  edges: () => number[];
}) {
  const { edge, chosen, pxPerSecond, end } = props;
  const onKeyDown = (event: KeyboardEvent) => {
    const step = event.shiftKey ? 0.01 : 0.1;
    const to = {
      ArrowLeft: chosen[edge] - step,
      ArrowDown: chosen[edge] - step,
      ArrowRight: chosen[edge] + step,
      ArrowUp: chosen[edge] + step,
      PageDown: chosen[edge] - 1,
      PageUp: chosen[edge] + 1,
      Home: edge === "from" ? 0 : chosen.from + step,
      End: edge === "to" ? end : chosen.to - step,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    move(edge, to, end);
  };
  return (
    <div
      class={`region-edge ${edge}`}
      role="slider"
      tabIndex={0}
      aria-label={words.region[edge]}
      aria-valuemin={edge === "from" ? 0 : chosen.from}
      aria-valuemax={edge === "from" ? chosen.to : Number(end.toFixed(3))}
      aria-valuenow={chosen[edge]}
      aria-valuetext={words.region.spoken(chosen[edge], chosen.to - chosen.from)}
      onKeyDown={onKeyDown}
      onPointerDown={(event) => {
        event.preventDefault();
        event.currentTarget.setPointerCapture(event.pointerId);
        event.currentTarget.focus();
      }}
      onPointerMove={(event) => {
        if (!event.currentTarget.hasPointerCapture(event.pointerId)) return;
        const stage = (event.currentTarget.closest(".stage") as HTMLElement).getBoundingClientRect();
        const seconds = (event.clientX - stage.left) / pxPerSecond;
        move(edge, event.shiftKey ? seconds : snap(seconds, props.edges(), 6 / pxPerSecond), end);
      }}
    />
  );
}

/** Moves an edge no further than the other. */
function move(edge: keyof Region, seconds: number, end: number): void {
  const chosen = region.peek();
  if (chosen === null) return;
  const made =
    edge === "from"
      ? regionOf(Math.min(seconds, chosen.to), chosen.to, end)
      : regionOf(chosen.from, Math.max(seconds, chosen.from), end);
  if (made !== null) region.value = made;
}

/** What a crop of the take to the region keeps, in seconds of the take; null where it cannot be cropped to it. */
export function cropOf(open: Chain, take: Take | null): Region | null {
  const chosen = region.value;
  if (chosen === null || take === null || !isReady(take) || isDiscarded(take)) return null;
  const rate = rateOf(open);
  return partOf(chosen, startOf(open, take.id) / rate, samplesOf(open, take) / rate);
}

/** The region in numbers, and what can be done with it. */
export function RegionBar({ open, end }: { open: Chain; end: number }) {
  const chosen = region.value;
  const take = blind.value === null ? selected.value : null;
  const part = cropOf(open, take);
  const here = () => position.peek() / rateOf(open);
  return (
    <fieldset class="region-bar">
      <legend class="visually-hidden">{words.region.title}</legend>
      <Button
        label={words.region.setFrom}
        hint={words.region.setFromHint}
        kind="quiet"
        shortcut="I"
        onClick={() => setEdge("from", here(), end)}
      />
      {chosen !== null && (
        <>
          <Seconds edge="from" chosen={chosen} end={end} />
          <span aria-hidden="true">–</span>
          <Seconds edge="to" chosen={chosen} end={end} />
        </>
      )}
      <Button
        label={words.region.setTo}
        hint={words.region.setToHint}
        kind="quiet"
        shortcut="O"
        onClick={() => setEdge("to", here(), end)}
      />
      {chosen !== null && (
        <>
          {take !== null && part !== null && (
            <Button
              label={words.region.crop(takeName(open, take))}
              shortcut="C"
              onClick={() => crop(open, take, part.from, part.to)}
            />
          )}
          <Button
            label={words.region.export}
            onClick={() => {
              dialog.value = "export";
            }}
          />
          <Button
            label={words.region.clear}
            icon="close"
            bare
            kind="quiet"
            shortcut="Escape"
            onClick={() => {
              region.value = null;
            }}
          />
        </>
      )}
    </fieldset>
  );
}

function Seconds({ edge, chosen, end }: { edge: keyof Region; chosen: Region; end: number }) {
  return (
    <input
      type="number"
      class="seconds"
      aria-label={words.region[edge]}
      step="0.001"
      min={0}
      max={end}
      value={chosen[edge]}
      onChange={(event) => {
        const seconds = event.currentTarget.valueAsNumber;
        if (Number.isFinite(seconds)) move(edge, seconds, end);
        event.currentTarget.value = String(region.peek()?.[edge] ?? "");
      }}
    />
  );
}
