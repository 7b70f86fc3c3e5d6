// A take's stems as a mixing desk: each a lane of the same clock.
import { signal } from "@preact/signals";
import type { Chain, Take } from "../model/chain.ts";
import { hearStems, makeStems } from "../state/actions.ts";
import { mixer, type StemStrip, setStrip } from "../state/sound.ts";
import { config, dialog } from "../state/store.ts";
import { words } from "../words.ts";
import { Button, Meter } from "./controls.tsx";

/** The export dialog takes the desk's levels along. */
export const withMix = signal(false);

export function Stems({ open, take }: { open: Chain; take: Take }) {
  if (!config.value || config.value.separators.length === 0) return null;
  const newest = (take.stems ?? []).at(-1);
  const ready = (take.stems ?? []).some((each) => each.status === "ready");
  const desk = mixer.value?.nodeId === take.id ? mixer.value : null;
  const atWork = newest !== undefined && (newest.status === "pending" || newest.status === "running");
  return (
    <section class="stems" aria-labelledby="stems-title">
      <h2 id="stems-title">{words.stems.title}</h2>
      {newest === undefined && <p class="faint">{words.stems.none}</p>}
      {newest?.status === "failed" && (
        <p class="bad-word">{words.stems.failed(newest.error?.detail ?? "")}</p>
      )}
      {atWork && <Meter value={newest.progress} label={words.stems.making} />}
      <div class="row">
        {!ready && !atWork && <Button label={words.stems.make} onClick={() => makeStems(open, take)} />}
        {ready && desk === null && (
          <Button label={words.stems.listen} onClick={() => hearStems(open, take)} />
        )}
        {desk !== null && (
          <>
            <Button
              label={words.stems.line}
              onClick={() => {
                mixer.value = null;
              }}
            />
            <Button
              label={words.stems.reset}
              kind="quiet"
              onClick={() => {
                for (const strip of desk.strips) setStrip(strip.name, { db: 0, muted: false, solo: false });
              }}
            />
            <Button
              label={words.stems.exportMix}
              kind="quiet"
              onClick={() => {
                withMix.value = true;
                dialog.value = "export";
              }}
            />
          </>
        )}
      </div>
      {desk !== null && (
        <ul class="desk">
          {desk.strips.map((strip, index) => (
            <Strip key={strip.name} strip={strip} number={index + 1} />
          ))}
        </ul>
      )}
    </section>
  );
}

export const stemName = (name: string) =>
  words.stems.names[name] ?? name.charAt(0).toUpperCase() + name.slice(1);

function Strip({ strip, number }: { strip: StemStrip; number: number }) {
  const name = stemName(strip.name);
  return (
    <li class="strip">
      <span class="strip-number" aria-hidden="true">
        {number}
      </span>
      <span class="strip-name">{name}</span>
      <button
        type="button"
        class="toggle mute"
        aria-pressed={strip.muted}
        aria-label={words.stems.mute(name)}
        onClick={() => setStrip(strip.name, { muted: !strip.muted })}
      >
        M
      </button>
      <button
        type="button"
        class="toggle solo"
        aria-pressed={strip.solo}
        aria-label={words.stems.solo(name)}
        onClick={() => setStrip(strip.name, { solo: !strip.solo })}
      >
        S
      </button>
      <input
        type="range"
        min={-60}
        max={6}
        step={0.5}
        value={strip.db}
        aria-label={words.stems.gain(name)}
        aria-valuetext={words.stems.db(strip.db)}
        onInput={(event) => setStrip(strip.name, { db: Number(event.currentTarget.value) })}
        onDblClick={() => setStrip(strip.name, { db: 0 })}
      />
      <span class="strip-db" aria-hidden="true">
        {words.stems.db(strip.db)}
      </span>
    </li>
  );
}
