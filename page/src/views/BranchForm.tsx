// The request for takes: in words, from which second, and how much of what came before is listened to.
import { effect, signal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { coloursOf, prepare } from "../canvas/theme.ts";
import { drawWave } from "../canvas/waveform.ts";
import type { Chain, Take } from "../model/chain.ts";
import { drawnZoom } from "../model/levels.ts";
import { fieldMessage, sentence } from "../model/problems.ts";
import { clock } from "../model/time.ts";
import { isDiscarded, isReady, rateOf, samplesOf, startOf } from "../model/tree.ts";
import { branch, intention, type BranchForm as Wanted } from "../state/actions.ts";
import { sureRhythm } from "../state/analyses.ts";
import { arrived, peaksOf } from "../state/peaks.ts";
import { position } from "../state/sound.ts";
import { config, models, takeName, toast } from "../state/store.ts";
import { theme } from "../state/theme.ts";
import { words } from "../words.ts";
import { Button, Field } from "./controls.tsx";

type Draft = Record<string, string> & { prompt: string; mode: string; takes: string; duration_s: string };

/** How the server joins takes where nothing else is asked for. */
const USUAL_JOINING = { align: "phase", crossfade_s: "0.15", match_loudness: "true" };

const EMPTY: Draft = {
  prompt: "",
  mode: "continue",
  takes: "2",
  duration_s: "8",
  prompt_duration_s: "10",
  at_s: "",
  ...USUAL_JOINING,
  seed: "",
  model: "",
  bpm: "",
  key: "",
  mood: "",
  style: "",
  cfg_coef: "",
  temperature: "",
  top_k: "",
  top_p: "",
};
const NUMBERS = [
  "duration_s",
  "prompt_duration_s",
  "at_s",
  "crossfade_s",
  "seed",
  "bpm",
  "cfg_coef",
  "temperature",
  "top_k",
  "top_p",
];
const WORDS = ["align", "model", "key", "mood", "style"];

/** Survives the change of the chosen take: the next request often differs in one thing only. */
const draft = signal<Draft>({ ...EMPTY });

const set = (name: string, value: string) => {
  draft.value = { ...draft.value, [name]: value };
};

/** Everything a take was made with, but for its place. */
export function copySettings(take: Take): void {
  const params = take.params as Record<string, unknown>;
  const text = (name: string) => (params[name] == null ? "" : String(params[name]));
  draft.value = {
    ...EMPTY,
    ...Object.fromEntries([...NUMBERS, ...WORDS].map((name) => [name, text(name)])),
    prompt: take.prompt,
    mode: text("mode") || "continue",
    takes: "1",
    duration_s: String(take.duration_s),
    prompt_duration_s: text("prompt_duration_s") || "10",
    seed: take.seed === null ? "" : String(take.seed),
    at_s: "",
    ...Object.fromEntries(Object.entries(USUAL_JOINING).map(([name, usual]) => [name, text(name) || usual])),
  };
  toast(words.branch.copied);
  document.getElementById("branch-prompt")?.focus();
}

function wanted(values: Draft): Wanted {
  const body: Record<string, unknown> = {
    prompt: values.prompt,
    mode: values.mode,
    takes: Number(values.takes),
    match_loudness: values.match_loudness !== "false",
  };
  for (const name of NUMBERS) if (values[name]?.trim()) body[name] = Number(values[name]);
  for (const name of WORDS) if (values[name]?.trim()) body[name] = values[name]?.trim();
  return body as unknown as Wanted;
}

export function BranchForm({ open, parent }: { open: Chain; parent: Take }) {
  const [error, setError] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  const values = draft.value;
  const rate = rateOf(open);
  const length = samplesOf(open, parent) / rate;
  const cut = values.at_s ? Math.min(length, Number(values.at_s)) : length;
  const ready = isReady(parent) && !isDiscarded(parent);
  const served = models.value?.models ?? [];
  const model =
    served.find((each) => each.name === values.model) ?? served.find((each) => each.default) ?? served[0];
  const modes = ["continue", ...(config.value?.analyser ? ["compose"] : []), "melody", "text"].filter(
    (mode) => mode === "compose" || !model || model.modes.includes(mode),
  );
  const limit = config.value?.generation;

  useEffect(() => {
    set("at_s", "");
    setError(null);
  }, [parent.id]);

  const submit = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      await branch(open, parent, wanted(values), intention());
    } catch (problem) {
      setError(problem);
      toast(sentence(problem), { bad: true });
    }
    setBusy(false);
  };
  const input = (name: string, kind: "number" | "text", more: Record<string, unknown> = {}) => (
    <input
      {...({ type: kind } as { type: "number" })}
      step="any"
      value={values[name]}
      aria-invalid={fieldMessage(error, name) !== null}
      onInput={(event) => set(name, event.currentTarget.value)}
      {...more}
    />
  );
  const message = (name: string) => fieldMessage(error, name);
  return (
    <form class="branch" onSubmit={submit} aria-labelledby="branch-title">
      <h2 id="branch-title">{words.branch.title}</h2>
      {!ready && <p class="faint">{words.branch.cannot}</p>}
      {ready && (
        <Cut
          open={open}
          take={parent}
          cut={cut}
          context={Number(values.prompt_duration_s) || 0}
          onCut={(seconds) => set("at_s", seconds >= length - 0.005 ? "" : seconds.toFixed(3))}
        />
      )}
      <Field label={words.branch.prompt} error={message("prompt")}>
        <textarea
          id="branch-prompt"
          rows={2}
          value={values.prompt}
          placeholder={words.branch.promptHint}
          onInput={(event) => set("prompt", event.currentTarget.value)}
        />
      </Field>
      <div class="grid">
        <Field label={words.branch.mode}>
          <select value={values.mode} onChange={(event) => set("mode", event.currentTarget.value)}>
            {modes.map((mode) => (
              <option key={mode} value={mode}>
                {words.branch.modes[mode]}
              </option>
            ))}
          </select>
        </Field>
        <Field label={words.branch.takes} error={message("takes")}>
          {input("takes", "number", { min: 1, max: limit?.max_takes ?? 8, step: 1, required: true })}
        </Field>
        <Field label={words.branch.duration} error={message("duration_s")}>
          {input("duration_s", "number", { min: 0.1, max: limit?.max_duration_s, required: true })}
        </Field>
        <Field label={words.branch.context} error={message("prompt_duration_s")}>
          {input("prompt_duration_s", "number", { min: 0.1, required: true })}
        </Field>
      </div>
      <details class="more">
        <summary>{words.branch.more}</summary>
        <div class="grid">
          <Field label={words.branch.bpm} error={message("bpm")}>
            {input("bpm", "number", { min: 30, max: 300 })}
          </Field>
          <Field label={words.branch.key} error={message("key")}>
            {input("key", "text", { placeholder: "F# minor" })}
          </Field>
          <Field label={words.branch.mood} error={message("mood")}>
            {input("mood", "text", { placeholder: "calm" })}
          </Field>
          <Field label={words.branch.style} error={message("style")}>
            {input("style", "text", { placeholder: "funk" })}
          </Field>
          <Field label={words.branch.seed} error={message("seed")}>
            {input("seed", "number", { min: 0, step: 1, placeholder: words.branch.seedHint })}
          </Field>
          <Field label={words.branch.model} error={message("model")}>
            <select value={values.model} onChange={(event) => set("model", event.currentTarget.value)}>
              <option value="">{model?.name ?? ""}</option>
              {served
                .filter((each) => each.name !== model?.name || values.model !== "")
                .map((each) => (
                  <option key={each.name} value={each.name}>
                    {each.name}
                  </option>
                ))}
            </select>
          </Field>
          <Field label={words.branch.cfg} error={message("cfg_coef")}>
            {input("cfg_coef", "number", { min: 0, max: 20, placeholder: "3" })}
          </Field>
          <Field label={words.branch.temperature} error={message("temperature")}>
            {input("temperature", "number", { min: 0.01, max: 5, placeholder: "1" })}
          </Field>
          <Field label={words.branch.topK} error={message("top_k")}>
            {input("top_k", "number", { min: 0, step: 1, placeholder: "250" })}
          </Field>
          <Field label={words.branch.topP} error={message("top_p")}>
            {input("top_p", "number", { min: 0, max: 1, placeholder: "0" })}
          </Field>
        </div>
      </details>
      <details class="more">
        <summary>{words.branch.seam}</summary>
        <div class="grid">
          <Field label={words.branch.align} error={message("align")}>
            <select value={values.align} onChange={(event) => set("align", event.currentTarget.value)}>
              {Object.entries(words.branch.aligns).map(([value, name]) => (
                <option key={value} value={value}>
                  {name}
                </option>
              ))}
            </select>
          </Field>
          <Field label={words.branch.crossfade} error={message("crossfade_s")}>
            {input("crossfade_s", "number", { min: 0, max: limit?.max_crossfade_s })}
          </Field>
        </div>
        <label class="choice">
          <input
            type="checkbox"
            checked={values.match_loudness !== "false"}
            onChange={(event) => set("match_loudness", String(event.currentTarget.checked))}
          />
          <span>{words.branch.matchLoudness}</span>
        </label>
      </details>
      {message("at_s") && <p class="field-error">{message("at_s")}</p>}
      <button class="button main" type="submit" disabled={!ready || busy}>
        <span>{words.branch.make(Math.max(1, Number(values.takes) || 1))}</span>
      </button>
    </form>
  );
}

type CutProps = { open: Chain; take: Take; cut: number; context: number; onCut: (seconds: number) => void };

/** The take's waveform with the second to continue from, and what of it is listened to. */
function Cut({ open, take, cut, context, onCut }: CutProps) {
  const sheet = useRef<HTMLCanvasElement>(null);
  const box = useRef<HTMLDivElement>(null);
  const rate = rateOf(open);
  const length = samplesOf(open, take) / rate;
  const beats = sureRhythm(open.id, take)?.beats ?? [];

  useEffect(() => {
    const draw = () => {
      const canvas = sheet.current;
      if (canvas === null) return;
      const [width, height] = [canvas.clientWidth, canvas.clientHeight];
      const surface = prepare(canvas, width, height);
      const peaks = peaksOf(open.id, take);
      if (surface === null || peaks === null) return;
      const colours = coloursOf(canvas);
      const perPx = samplesOf(open, take) / width;
      const [from, to] = [((cut - context) / length) * width, (cut / length) * width];
      const zoom = drawnZoom(open.nodes);
      const area = { x: 0, y: 2, width, height: height - 4 };
      surface.fillStyle = colours.waveDim;
      drawWave(surface, peaks, area, perPx, 0, width, zoom);
      surface.fillStyle = colours.chosen;
      drawWave(surface, peaks, area, perPx, Math.max(0, from), to, zoom);
    };
    return effect(() => {
      void [arrived.value, theme.value];
      requestAnimationFrame(draw);
    });
  }, [open.id, take, cut, context]);

  const at = (event: PointerEvent) => {
    const { left, width } = (box.current as HTMLDivElement).getBoundingClientRect();
    onCut(Math.min(length, Math.max(0.05, ((event.clientX - left) / width) * length)));
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const step = beats.length > 0 ? length / 100 : 0.1;
    const to = {
      ArrowLeft: cut - step,
      ArrowDown: cut - step,
      ArrowRight: cut + step,
      ArrowUp: cut + step,
      PageDown: cut - 1,
      PageUp: cut + 1,
      Home: 0.05,
      End: length,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    onCut(Math.min(length, Math.max(0.05, to)));
  };
  const playhead = (position.value - startOf(open, take.id)) / rate;
  return (
    <div class="cut-row">
      <div
        class="cut"
        ref={box}
        role="slider"
        tabIndex={0}
        aria-label={words.branch.at}
        aria-valuemin={0}
        aria-valuemax={Number(length.toFixed(2))}
        aria-valuenow={Number(cut.toFixed(2))}
        aria-valuetext={`${words.branch.from(takeName(open, take), clock(cut))}, ${words.branch.contextSpoken(context)}`}
        onKeyDown={onKeyDown}
        onPointerDown={(event) => {
          event.currentTarget.setPointerCapture(event.pointerId);
          at(event);
        }}
        onPointerMove={(event) => event.buttons > 0 && at(event)}
      >
        <canvas ref={sheet} aria-hidden="true" />
        <span class="cut-mark" style={{ left: `${(100 * cut) / length}%` }} aria-hidden="true" />
      </div>
      <p class="cut-words">
        <span class="cut-time">{clock(cut, 2)}</span>
        <Button
          label={words.branch.atPlayhead}
          kind="quiet"
          disabled={playhead <= 0.05 || playhead > length}
          onClick={() => onCut(playhead)}
        />
        <Button
          label={words.branch.atEnd}
          kind="quiet"
          disabled={cut >= length}
          onClick={() => onCut(length)}
        />
      </p>
    </div>
  );
}
