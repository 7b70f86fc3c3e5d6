// The line as a file, in every format that the server offers.
import { useState } from "preact/hooks";
import type { Chain, Config, FormatOptions, Take } from "../model/chain.ts";
import { fieldMessage, sentence } from "../model/problems.ts";
import { isReady, pathTo, rateOf, samplesOf } from "../model/tree.ts";
import { downloadCredentials, type Exported, exportLine, intention } from "../state/actions.ts";
import { region } from "../state/region.ts";
import { mixer } from "../state/sound.ts";
import { config, dialog, models, say, selected, takeName } from "../state/store.ts";
import { words } from "../words.ts";
import { Button, Dialog, Field } from "./controls.tsx";
import { Licence } from "./Inspector.tsx";
import { withMix } from "./Stems.tsx";

/** What the server says of its formats; older ones name them only. */
export function formatsOf(told: Config["export"] | undefined): FormatOptions[] {
  return (
    told?.format_options ??
    (told?.formats ?? []).map((name) => ({ name, title: words.export.formats[name] ?? name, ...USUAL[name] }))
  );
}

const USUAL: Record<string, Partial<FormatOptions>> = {
  wav: { bit_depths: [16, 24, 32], default_bit_depth: 24 },
  flac: { bit_depths: [16, 24], default_bit_depth: 24 },
};

/** What is asked of one format, gone with it; and what holds for all. */
type Values = Record<string, string>;

const OF_FORMAT = ["bit_depth", "bitrate", "sample_rate_hz", "picture", "size", "fps", "loop"];
const TAGS = ["artist", "album", "genre", "date", "key", "bpm", "comment"];
const ANOTHER = "another";
const MB = 1_048_576;

/** The body of the request: what was left empty is left out. */
function wanted(
  format: FormatOptions,
  values: Values,
  open: Chain,
  chosen: Take | null,
): Record<string, unknown> {
  const body: Record<string, unknown> = { format: format.name };
  const tags: Record<string, unknown> = {};
  const { line, loudness_lufs, own_lufs, title, cover, loop, ...plain } = values;
  for (const [name, value] of Object.entries(plain)) {
    const written = value.trim();
    if (written === "") continue;
    if (TAGS.includes(name)) tags[name] = name === "bpm" ? Number(written) : written;
    else body[name] = Number.isNaN(Number(written)) ? written : Number(written);
  }
  const lufs = loudness_lufs === ANOTHER ? own_lufs : loudness_lufs;
  if (lufs) body.loudness_lufs = Number(lufs);
  if (title?.trim()) body.title = title.trim();
  if (cover && format.cover) body.cover = cover;
  if (loop && format.kind === "video") body.loop = true;
  if (Object.keys(tags).length > 0) body.tags = tags;
  if (region.peek() !== null) Object.assign(body, region.peek());
  if (line === "chosen" && chosen !== null) body.node_id = chosen.id;
  const desk = mixer.peek();
  if (withMix.peek() && desk !== null) {
    body.node_id = open.spine.includes(desk.nodeId) ? undefined : desk.nodeId;
    const soloed = desk.strips.some((strip) => strip.solo);
    body.mix = Object.fromEntries(
      desk.strips
        .filter((strip) => !strip.muted && (!soloed || strip.solo) && strip.db > -60)
        .map((strip) => [strip.name, strip.db]),
    );
  }
  return body;
}

/** Seconds of the committed line. */
function committedS(open: Chain): number {
  const nodes = open.nodes.filter((node) => open.spine.includes(node.id) && isReady(node));
  return nodes.reduce((sum, node) => sum + samplesOf(open, node), 0) / rateOf(open);
}

export function ExportDialog({ open }: { open: Chain }) {
  const told = config.value?.export;
  const formats = formatsOf(told);
  const take = selected.value;
  const aside = take !== null && isReady(take) && !open.spine.includes(take.id) ? take : null;
  const reachesAside = aside !== null && (region.value?.to ?? 0) > committedS(open) + 0.001;
  const [format, setFormat] = useState(formats[0]?.name ?? "wav");
  const [values, setValues] = useState<Values>({ line: reachesAside ? "chosen" : "" });
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const [made, setMade] = useState<Exported | null>(null);
  const form = formats.find((each) => each.name === format);
  const isVideo = form?.kind === "video";
  const close = () => {
    withMix.value = false;
    dialog.value = null;
  };
  const submit = async (event: Event) => {
    event.preventDefault();
    if (form === undefined) return;
    setBusy(true);
    setError(null);
    setMade(null);
    try {
      const done = await exportLine(open, wanted(form, values, open, aside), intention());
      setMade(done);
      say(words.export.done(done.filename));
    } catch (problem) {
      setError(problem);
    }
    setBusy(false);
  };
  const set = (name: string, value: string) => setValues((before) => ({ ...before, [name]: value }));
  const number = (name: string, label: string, more: Record<string, unknown> = {}) => (
    <Field label={label} error={fieldMessage(error, name)}>
      <input
        type="number"
        min={0}
        step="any"
        value={values[name] ?? ""}
        onInput={(event) => set(name, event.currentTarget.value)}
        {...more}
      />
    </Field>
  );
  const choice = (name: string, label: string, options: [string, string][], usual: string) =>
    options.length > 0 && (
      <Field label={label} error={fieldMessage(error, name)}>
        <select value={values[name] ?? ""} onChange={(event) => set(name, event.currentTarget.value)}>
          <option value="">{usual}</option>
          {options.map(([value, text]) => (
            <option key={value} value={value}>
              {text}
            </option>
          ))}
        </select>
      </Field>
    );
  const plain = (options: (string | number)[] | null | undefined) =>
    (options ?? []).map((each): [string, string] => [String(each), String(each)]);
  const { export: text } = words;
  const range = (limits: number[] | undefined) => ({ min: limits?.[0], max: limits?.[1] });
  return (
    <Dialog title={text.title} onClose={close}>
      <form onSubmit={submit} class="export">
        <fieldset class="formats">
          <legend>{text.format}</legend>
          {formats.map((each) => (
            <label key={each.name} class="choice">
              <input
                type="radio"
                name="format"
                value={each.name}
                checked={each.name === format}
                onChange={() => {
                  setFormat(each.name);
                  setValues((before) =>
                    Object.fromEntries(Object.entries(before).filter(([name]) => !OF_FORMAT.includes(name))),
                  );
                }}
              />
              <span>{text.formats[each.name] ?? each.title}</span>
            </label>
          ))}
        </fieldset>
        <div class="grid">
          {aside !== null &&
            choice("line", text.what, [["chosen", text.chosenLine(takeName(open, aside))]], text.line)}
          {choice(
            "bit_depth",
            text.bits,
            (form?.bit_depths ?? []).map((each) => [String(each), each === 32 ? text.float : String(each)]),
            form?.default_bit_depth ? `${form.default_bit_depth}, ${text.usual}` : text.usual,
          )}
          {choice("bitrate", text.bitrate, plain(form?.bitrates), form?.default_bitrate ?? text.usual)}
          {choice(
            "sample_rate_hz",
            text.rate,
            (form?.sample_rates_hz ?? told?.sample_rates_hz ?? []).map((hz) => [String(hz), text.hz(hz)]),
            text.asChain,
          )}
          {isVideo &&
            choice(
              "picture",
              text.picture,
              (told?.video?.pictures ?? []).map((each) => [each, text.pictures[each] ?? each]),
              text.usual,
            )}
          {isVideo && choice("size", text.size, plain(told?.video?.sizes), text.usual)}
          {isVideo &&
            number("fps", text.fps, {
              min: 1,
              max: told?.video?.max_fps,
              step: 1,
              placeholder: String(told?.video?.default_fps ?? ""),
            })}
        </div>
        {isVideo && (
          <label class="choice">
            <input
              type="checkbox"
              checked={values.loop !== undefined && values.loop !== ""}
              onChange={(event) => set("loop", event.currentTarget.checked ? "yes" : "")}
            />
            <span>{text.loop}</span>
          </label>
        )}
        <Part error={error} />
        <div class="grid">
          {told?.loudness_lufs &&
            choice("loudness_lufs", text.loudness, [...text.targets, [ANOTHER, text.another]], text.asItIs)}
          {values.loudness_lufs === ANOTHER &&
            number("own_lufs", text.ownLoudness, { ...range(told?.loudness_lufs), required: true })}
          {told?.true_peak_dbtp &&
            number("true_peak_dbtp", text.peak, { ...range(told.true_peak_dbtp), placeholder: text.asItIs })}
          {told?.format_options && number("fade_in_s", text.fadeIn)}
          {told?.format_options && number("fade_out_s", text.fadeOut)}
          {told?.format_options && number("tail_s", text.tail, { max: told.max_tail_s })}
        </div>
        {mixer.value !== null && (
          <label class="choice">
            <input
              type="checkbox"
              checked={withMix.value}
              onChange={(event) => {
                withMix.value = event.currentTarget.checked;
              }}
            />
            <span>{text.mix}</span>
          </label>
        )}
        {told?.format_options && (
          <details class="more">
            <summary>{text.says}</summary>
            <div class="grid">
              {["title", ...TAGS].map((name) => (
                <Field key={name} label={text.tags[name] ?? name} error={fieldMessage(error, name)}>
                  <input
                    inputmode={name === "bpm" ? "decimal" : "text"}
                    maxLength={name === "title" ? 200 : undefined}
                    placeholder={
                      name === "title"
                        ? open.title
                        : name === "key" || name === "bpm"
                          ? text.heard
                          : undefined
                    }
                    value={values[name] ?? ""}
                    onInput={(event) => set(name, event.currentTarget.value)}
                  />
                </Field>
              ))}
            </div>
            {form?.cover && told.cover && (
              <Cover
                limits={told.cover}
                cover={values.cover ?? ""}
                error={fieldMessage(error, "cover")}
                onCover={(url) => set("cover", url)}
              />
            )}
          </details>
        )}
        <Licences
          open={open}
          last={values.line === "chosen" && aside ? aside.id : (open.spine.at(-1) ?? open.root_id)}
        />
        {error !== null && (
          <p class="bad-word" role="alert">
            {sentence(error)}
          </p>
        )}
        {made !== null && <Outcome made={made} />}
        <p class="dialog-foot">
          <button class="button main" type="submit" disabled={busy}>
            <span>{busy ? text.making : text.make}</span>
          </button>
        </p>
      </form>
    </Dialog>
  );
}

/** Which seconds: the region of the timeline, in numbers. */
function Part({ error }: { error: unknown }) {
  const { export: text } = words;
  const chosen = region.value;
  const edge = (name: "from" | "to", label: string) => (
    <Field label={label} error={fieldMessage(error, name)}>
      <input
        type="number"
        min={0}
        step="any"
        value={chosen?.[name] ?? ""}
        onChange={(event) => {
          const seconds = event.currentTarget.valueAsNumber;
          const other = region.peek();
          if (!Number.isNaN(seconds))
            region.value =
              name === "from"
                ? { from: seconds, to: other?.to ?? seconds + 1 }
                : { from: other?.from ?? 0, to: seconds };
        }}
      />
    </Field>
  );
  return (
    <div class="grid">
      {edge("from", text.from)}
      {edge("to", text.to)}
      <Button
        label={text.whole}
        kind="quiet"
        disabled={chosen === null}
        onClick={() => {
          region.value = null;
        }}
      />
    </div>
  );
}

type CoverProps = {
  limits: { max_bytes: number; formats: string[] };
  cover: string;
  error: string | null;
  onCover: (url: string) => void;
};

function Cover({ limits, cover, error, onCover }: CoverProps) {
  const { export: text } = words;
  const [refused, setRefused] = useState<string | null>(null);
  const mb = Math.floor(limits.max_bytes / MB);
  const read = (file: File) => {
    if (file.size > limits.max_bytes) return setRefused(text.coverLarge(mb));
    const reader = new FileReader();
    reader.onload = () => onCover(String(reader.result));
    reader.onerror = () => setRefused(text.coverUnread);
    setRefused(null);
    reader.readAsDataURL(file);
  };
  return (
    <div class="cover">
      {cover !== "" && <img src={cover} alt={text.cover} width={56} height={56} />}
      <Field label={`${text.cover}: ${text.coverHint(limits.formats, mb)}`} error={refused ?? error}>
        <input
          type="file"
          accept={limits.formats.map((name) => `image/${name}`).join(",")}
          onChange={(event) => {
            const file = event.currentTarget.files?.[0];
            event.currentTarget.value = "";
            if (file) read(file);
          }}
        />
      </Field>
      {cover !== "" && (
        <Button label={text.noCover} icon="close" bare kind="quiet" onClick={() => onCover("")} />
      )}
    </div>
  );
}

/** What the file has become. */
function Outcome({ made }: { made: Exported }) {
  const { export: text } = words;
  return (
    <div class="outcome">
      <p>
        <strong>{text.done(made.filename)}</strong>
      </p>
      {made.loudness && <p class="faint">{text.report(made.loudness.lufs, made.loudness.true_peak_dbtp)}</p>}
      {made.clipped > 0 && <p class="bad-word">{text.clipped(made.clipped)}</p>}
      {made.nonCommercial && <p class="bad-word">{words.facts.nonCommercial}</p>}
      {made.credentials === "inside" && <p class="faint">{text.signed}</p>}
      {made.credentials === "beside" && (
        <Button label={text.credentials} icon="download" onClick={() => downloadCredentials(made.id)} />
      )}
    </div>
  );
}

/** Of the models that made the line. */
function Licences({ open, last }: { open: Chain; last: string }) {
  const names = new Set(pathTo(open, last).map((node) => node.params.model));
  const served = models.value?.models ?? [];
  const licences = [
    ...new Set(served.filter((model) => names.has(model.name)).map((model) => model.licence)),
  ];
  if (licences.length === 0) return null;
  return (
    <p class="faint">
      {words.facts.licence}:{" "}
      {licences.map((name, index) => (
        <span key={name}>
          {index > 0 ? ", " : ""}
          <Licence name={name} />
        </span>
      ))}
    </p>
  );
}
