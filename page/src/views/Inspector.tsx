// The chosen take: what it is, what can be done with it, what it may become.
import { useEffect, useState } from "preact/hooks";
import type { Chain, Take } from "../model/chain.ts";
import { clock, span } from "../model/time.ts";
import {
  isDiscarded,
  isReady,
  isUnfinished,
  rateOf,
  samplesOf,
  startOf,
  takesBeside,
} from "../model/tree.ts";
import {
  analyse,
  cancel,
  cancelOthers,
  commit,
  discard,
  download,
  label,
  restore,
  uncommit,
} from "../state/actions.ts";
import { heardIn } from "../state/analyses.ts";
import { blind, listenTo } from "../state/sound.ts";
import { attempt, client, models, progress, selected, takeName } from "../state/store.ts";
import { words } from "../words.ts";
import { BranchForm, copySettings } from "./BranchForm.tsx";
import { Button, Field, Meter } from "./controls.tsx";
import { Icon } from "./icons.tsx";
import { Stems } from "./Stems.tsx";

export function Inspector({ open }: { open: Chain }) {
  const take = selected.value;
  if (take === null || blind.value !== null)
    return (
      <aside class="inspector" aria-label={words.take.facts}>
        <p class="faint">{blind.value === null ? words.take.select : words.transport.blindHint}</p>
      </aside>
    );
  return (
    <aside class="inspector" aria-label={takeName(open, take)}>
      <Head open={open} take={take} />
      <Actions open={open} take={take} />
      <Facts open={open} take={take} />
      <BranchForm open={open} parent={take} />
      {isReady(take) && <Stems open={open} take={take} />}
      {isReady(take) && <Provenance open={open} take={take} />}
    </aside>
  );
}

function Head({ open, take }: { open: Chain; take: Take }) {
  const rate = rateOf(open);
  const start = startOf(open, take.id) / rate;
  const told = isUnfinished(take) ? progress.value.get(take.id) : undefined;
  const state = isReady(take) ? words.take.decision[take.decision] : words.take.state[take.status];
  const done = told?.progress ?? take.progress;
  return (
    <header class="take-head">
      <input
        class="title-input"
        aria-label={words.take.name}
        key={`${take.id}:${take.title ?? ""}`}
        defaultValue={take.title ?? ""}
        placeholder={takeName(open, take)}
        maxLength={200}
        onChange={(event) => label(open, take, { title: event.currentTarget.value.trim() || null })}
      />
      <p class="take-where">
        <span class={`lamp ${isReady(take) ? take.decision : take.status}`} aria-hidden="true" />
        {state} · {clock(start)} – {clock(start + samplesOf(open, take) / rate)}
      </p>
      {isUnfinished(take) && (
        <div class="making">
          <Meter value={done} label={words.take.progress(takeName(open, take), Math.round(100 * done))} />
          <span class="faint">
            {told?.queue_position != null
              ? words.take.queue(told.queue_position)
              : `${Math.round(100 * done)} %`}
            {told?.eta_s != null ? ` · ${words.take.eta(told.eta_s)}` : ""}
          </span>
        </div>
      )}
      {take.status === "failed" && take.error && (
        <p class="bad-word">{words.take.failed(take.error.detail)}</p>
      )}
      <Stars open={open} take={take} />
    </header>
  );
}

function Stars({ open, take }: { open: Chain; take: Take }) {
  const count = take.stars ?? 0;
  return (
    <fieldset class="stars">
      <legend class="visually-hidden">{words.take.stars}</legend>
      {[1, 2, 3, 4, 5].map((star) => (
        <button
          key={star}
          type="button"
          class={star <= count ? "lit" : ""}
          aria-label={words.take.starsOf(star)}
          aria-pressed={star <= count}
          onClick={() => label(open, take, { stars: star === count ? star - 1 : star })}
        >
          <Icon name="star" />
        </button>
      ))}
    </fieldset>
  );
}

function Actions({ open, take }: { open: Chain; take: Take }) {
  const others = takesBeside(open, take).filter((other) => other.id !== take.id && isUnfinished(other));
  const isRoot = take.parent_id === null;
  return (
    <div class="actions">
      {isUnfinished(take) ? (
        <Button label={words.take.listenLive} icon="play" kind="main" onClick={() => listenTo(take)} />
      ) : (
        isReady(take) && <Button label={words.take.listen} icon="play" onClick={() => listenTo(take)} />
      )}
      {isReady(take) && take.decision !== "committed" && !isDiscarded(take) && (
        <Button label={words.take.commit} kind="main" shortcut="Enter" onClick={() => commit(open, take)} />
      )}
      {take.decision === "committed" && !isRoot && (
        <Button label={words.take.uncommit} onClick={() => uncommit(open, take)} />
      )}
      {isUnfinished(take) && <Button label={words.take.cancel} onClick={() => cancel(open, take)} />}
      {others.length > 0 && (
        <Button label={words.take.cancelOthers} onClick={() => cancelOthers(open, take)} />
      )}
      {!isDiscarded(take) && !isRoot && (
        <Button label={words.take.discard} kind="quiet" shortcut="X" onClick={() => discard(open, take)} />
      )}
      {isDiscarded(take) && <Button label={words.take.restore} onClick={() => restore(open, take)} />}
      {take.origin === "generation" && (
        <Button label={words.take.again} kind="quiet" onClick={() => copySettings(take)} />
      )}
      {isReady(take) && (
        <Button
          label={words.take.downloadWav}
          icon="download"
          bare
          kind="quiet"
          onClick={() =>
            attempt(() => download(`v1/chains/${open.id}/nodes/${take.id}/audio`, `${take.id}.wav`))
          }
        />
      )}
    </div>
  );
}

function Facts({ open, take }: { open: Chain; take: Take }) {
  const analysis = take.analysis;
  const heard = heardIn(open.id, take);
  const unsure = (confidence?: number | null) =>
    confidence != null && confidence < 0.35 ? <span class="faint"> ({words.facts.unsure})</span> : null;
  const model = typeof take.params.model === "string" ? take.params.model : null;
  const licence = models.value?.models.find((each) => each.name === model)?.licence;
  const mode = typeof take.params.mode === "string" ? take.params.mode : null;
  return (
    <section class="facts" aria-label={words.take.facts}>
      <dl>
        <Fact name={words.facts.length} value={span(samplesOf(open, take) / rateOf(open))} />
        {analysis?.bpm != null && (
          <Fact
            name={words.facts.tempo}
            value={
              <>
                {words.facts.bpm(analysis.bpm)}
                {unsure(analysis.bpm_confidence)}
              </>
            }
          />
        )}
        {analysis?.key != null && (
          <Fact
            name={words.facts.key}
            value={
              <>
                {analysis.key}
                {analysis.camelot ? ` · ${analysis.camelot}` : ""}
                {unsure(analysis.key_confidence)}
              </>
            }
          />
        )}
        {analysis?.integrated_lufs != null && (
          <Fact name={words.facts.loudness} value={words.facts.lufs(analysis.integrated_lufs)} />
        )}
        {take.audio && <Fact name={words.facts.peak} value={words.facts.dbfs(take.audio.peak_dbfs)} />}
        {analysis?.emotion && <Fact name={words.facts.mood} value={analysis.emotion} />}
        {analysis?.style_id && (
          <Fact name={words.facts.style} value={heard?.styleName ?? analysis.style_id} />
        )}
        {analysis?.adherence?.score != null && (
          <Fact name={words.facts.adherence} value={words.facts.percent(analysis.adherence.score)} />
        )}
        {take.seed !== null && <Fact name={words.facts.seed} value={<code>{take.seed}</code>} />}
        {model && <Fact name={words.facts.model} value={model} />}
        {licence && <Fact name={words.facts.licence} value={<Licence name={licence} />} />}
        {mode && mode !== "continue" && (
          <Fact name={words.facts.mode} value={words.branch.modes[mode] ?? mode} />
        )}
        {take.prompt && <Fact name={words.facts.prompt} value={take.prompt} wide />}
        {analysis?.composed_prompt && <Fact name={words.facts.told} value={analysis.composed_prompt} wide />}
      </dl>
      {heard && heard.energy.length > 1 && <Energy values={heard.energy} />}
      {isReady(take) && analysis == null && (
        <Button label={words.take.analyse} kind="quiet" onClick={() => analyse(open, take)} />
      )}
      {analysis != null && (analysis.status === "pending" || analysis.status === "running") && (
        <p class="faint">{words.take.analysing}</p>
      )}
      <Note open={open} take={take} />
    </section>
  );
}

function Fact(props: { name: string; value: preact.ComponentChildren; wide?: boolean }) {
  return (
    <div class={props.wide ? "wide" : ""}>
      <dt>{props.name}</dt>
      <dd>{props.value}</dd>
    </div>
  );
}

export function Licence({ name }: { name: string }) {
  const bound = /\bNC\b/.test(name);
  return (
    <>
      {name}
      {bound && <span class="tag warn">{words.facts.nonCommercial}</span>}
    </>
  );
}

function Energy({ values }: { values: number[] }) {
  const points = values.map(
    (value, index) => `${((100 * index) / (values.length - 1)).toFixed(2)},${(24 - 22 * value).toFixed(2)}`,
  );
  return (
    <figure class="energy">
      <figcaption>{words.facts.energy}</figcaption>
      <svg viewBox="0 0 100 24" preserveAspectRatio="none" aria-hidden="true">
        <polyline points={points.join(" ")} />
      </svg>
    </figure>
  );
}

function Note({ open, take }: { open: Chain; take: Take }) {
  return (
    <Field label={words.take.note}>
      <textarea
        key={`${take.id}:${take.note ?? ""}`}
        rows={1}
        maxLength={2000}
        defaultValue={take.note ?? ""}
        placeholder={words.take.noteHint}
        onChange={(event) => label(open, take, { note: event.currentTarget.value.trim() || null })}
      />
    </Field>
  );
}

/** All that is recorded of how the take was made. */
function Provenance({ open, take }: { open: Chain; take: Take }) {
  const [shown, setShown] = useState(false);
  const [found, setFound] = useState<Record<string, unknown> | null>(null);
  useEffect(() => {
    setFound(null);
    if (!shown) return;
    const control = new AbortController();
    void attempt(async () => {
      const path = `v1/chains/${open.id}/nodes/${take.id}/provenance`;
      setFound(await client.get(path, {}, { signal: control.signal }));
    });
    return () => control.abort();
  }, [shown, take.id]);
  return (
    <details class="provenance" open={shown} onToggle={(event) => setShown(event.currentTarget.open)}>
      <summary>{words.take.provenance}</summary>
      {found && (
        <dl>
          {Object.entries(found).map(([name, value]) => (
            <div key={name} class="wide">
              <dt>{name.replaceAll("_", " ")}</dt>
              <dd>
                <code>{typeof value === "string" ? value : JSON.stringify(value)}</code>
              </dd>
            </div>
          ))}
        </dl>
      )}
    </details>
  );
}
