// The transport: play, position, which take, how it compares.
import { effect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { Chain } from "../model/chain.ts";
import { clock } from "../model/time.ts";
import { isReady, isUnfinished, rateOf } from "../model/tree.ts";
import { abx } from "../state/abx.ts";
import { region } from "../state/region.ts";
import {
  audibleEnd,
  blind,
  choices,
  heard,
  looping,
  matching,
  player,
  playing,
  position,
  seek,
  switchTo,
  toggleBlind,
  togglePlay,
  volume,
  waiting,
} from "../state/sound.ts";
import { dialog, takeName } from "../state/store.ts";
import { words } from "../words.ts";
import { AbxPanel } from "./Abx.tsx";
import { Button } from "./controls.tsx";
import { barText } from "./Timeline.tsx";

export function Transport({ open }: { open: Chain }) {
  const takes = choices.value;
  const about = heard.value;
  const hidden = blind.value !== null;
  return (
    <section class="transport" aria-label={words.transport.label}>
      <div class="transport-main">
        <Button
          label={words.transport.toStart}
          icon="start"
          bare
          kind="quiet"
          shortcut="Home"
          onClick={() => seek(0)}
        />
        <button
          type="button"
          class={`play ${waiting.value ? "waiting" : ""}`}
          aria-label={playing.value ? words.transport.pause : words.transport.play}
          aria-keyshortcuts="Space"
          onClick={togglePlay}
        >
          <svg viewBox="0 0 24 24" aria-hidden="true">
            <path d={playing.value ? "M6 4h4.500v16H6zM13.500 4H18v16h-4.500z" : "M7 3.500v17l13-8.500z"} />
          </svg>
        </button>
        <Button
          label={region.value === null ? words.transport.loop : words.transport.loopRegion}
          icon="loop"
          bare
          kind="quiet"
          pressed={looping.value}
          shortcut="R"
          onClick={() => {
            looping.value = !looping.value;
          }}
        />
        <Clock open={open} />
        <LevelMeter />
      </div>
      {abx.value !== null && <AbxPanel test={abx.value} />}
      {abx.value === null && takes.length > 1 && (
        <fieldset class="switch">
          <legend class="visually-hidden">{words.transport.takes}</legend>
          {takes.map((take, index) => (
            <button
              key={take.id}
              type="button"
              class={`chip ${isUnfinished(take) ? "live" : ""}`}
              aria-pressed={about?.id === take.id}
              aria-keyshortcuts={String(index + 1)}
              aria-label={hidden ? words.transport.hidden(index + 1) : takeName(open, take)}
              title={hidden ? undefined : takeName(open, take)}
              onClick={() => switchTo(index)}
            >
              {index + 1}
            </button>
          ))}
          <Button
            label={words.transport.match}
            kind="quiet"
            hint={words.transport.matchHint}
            pressed={matching.value}
            onClick={() => {
              matching.value = !matching.value;
            }}
          />
          <Button
            label={hidden ? words.transport.reveal : words.transport.blind}
            kind="quiet"
            hint={words.transport.blindHint}
            pressed={hidden}
            shortcut="V"
            disabled={!hidden && takes.filter(isReady).length < 2}
            onClick={toggleBlind}
          />
          {!hidden && (
            <>
              <Button
                label={words.abx.open}
                kind="quiet"
                hint={words.abx.hint}
                disabled={takes.filter(isReady).length < 2}
                onClick={() => {
                  dialog.value = "abx";
                }}
              />
              <Button
                label={words.compare.open}
                kind="quiet"
                hint={words.compare.hint}
                shortcut="D"
                disabled={takes.filter(isReady).length < 2}
                onClick={() => {
                  dialog.value = "compare";
                }}
              />
            </>
          )}
        </fieldset>
      )}
      <label class="volume">
        <span class="visually-hidden">{words.transport.volume}</span>
        <input
          type="range"
          min={0}
          max={1}
          step={0.01}
          value={volume.value}
          onInput={(event) => {
            volume.value = Number(event.currentTarget.value);
          }}
        />
      </label>
    </section>
  );
}

/** The time, written into the page without a rerender for each of its tenths. */
function Clock({ open }: { open: Chain }) {
  const now = useRef<HTMLElement>(null);
  const rest = useRef<HTMLElement>(null);
  const rate = rateOf(open);
  useEffect(
    () =>
      effect(() => {
        const time = clock(position.value / rate);
        if (now.current && now.current.textContent !== time) now.current.textContent = time;
        const bar = barText(open, position.value);
        const text = waiting.value
          ? words.transport.waiting
          : `${clock(audibleEnd.value / rate)}${bar ? ` · ${bar}` : ""}`;
        if (rest.current && rest.current.textContent !== text) rest.current.textContent = text;
      }),
    [open, rate],
  );
  return (
    <div class="clock" role="timer" aria-label={words.transport.position} aria-live="off">
      <strong ref={now} />
      <span class="faint" ref={rest} />
    </div>
  );
}

/** What goes out, as a bar with a falling peak. */
function LevelMeter() {
  const bar = useRef<HTMLDivElement>(null);
  useEffect(() => {
    let frame = 0;
    let level = 0;
    const samples = new Float32Array(1024);
    const tick = () => {
      frame = requestAnimationFrame(tick);
      player.analyser?.getFloatTimeDomainData(samples);
      let peak = 0;
      if (player.analyser) for (const sample of samples) peak = Math.max(peak, Math.abs(sample));
      level = Math.max(peak, level * 0.9);
      const shown = level < 0.001 ? 0 : Math.max(0, 1 + (20 * Math.log10(level)) / 60);
      if (bar.current) bar.current.style.transform = `scaleX(${shown.toFixed(3)})`;
      if (!playing.peek() && level < 0.001) cancelAnimationFrame(frame);
    };
    const stop = effect(() => {
      if (playing.value) {
        cancelAnimationFrame(frame);
        frame = requestAnimationFrame(tick);
      }
    });
    return () => {
      stop();
      cancelAnimationFrame(frame);
    };
  }, []);
  return (
    <div class="level" aria-hidden="true">
      <div class="level-bar" ref={bar} />
    </div>
  );
}
