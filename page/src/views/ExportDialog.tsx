// The line as a file, in every format that the server offers.
import { useState } from "preact/hooks";
import type { Chain, Config, FormatOptions, Take } from "../model/chain.ts";
import { fieldMessage, sentence } from "../model/problems.ts";
import { pathTo } from "../model/tree.ts";
import { exportLine, intention } from "../state/actions.ts";
import { mixer } from "../state/sound.ts";
import { config, dialog, models, selected, takeName, toast } from "../state/store.ts";
import { words } from "../words.ts";
import { Dialog, Field } from "./controls.tsx";
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

type Values = Record<string, string>;

/** The body of the request: what was left empty is left out. */
function wanted(format: string, values: Values, open: Chain, chosen: Take | null): Record<string, unknown> {
  const body: Record<string, unknown> = { format };
  for (const [name, value] of Object.entries(values))
    if (value !== "" && name !== "line") body[name] = Number.isNaN(Number(value)) ? value : Number(value);
  if (values.line === "chosen" && chosen !== null) body.node_id = chosen.id;
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

export function ExportDialog({ open }: { open: Chain }) {
  const told = config.value?.export;
  const formats = formatsOf(told);
  const [format, setFormat] = useState(formats[0]?.name ?? "wav");
  const [values, setValues] = useState<Values>({});
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const form = formats.find((each) => each.name === format);
  const take = selected.value;
  const aside = take?.status === "ready" && !open.spine.includes(take.id) ? take : null;
  const close = () => {
    withMix.value = false;
    dialog.value = null;
  };
  const submit = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      const name = await exportLine(open, wanted(format, values, open, aside), intention());
      toast(words.export.done(name));
      close();
    } catch (problem) {
      setError(problem);
    }
    setBusy(false);
  };
  const set = (name: string, value: string) => setValues({ ...values, [name]: value });
  const number = (name: string, label: string) => (
    <Field label={label} error={fieldMessage(error, name)}>
      <input
        type="number"
        min={0}
        step="any"
        value={values[name] ?? ""}
        onInput={(event) => set(name, event.currentTarget.value)}
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
                  setValues({});
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
          {choice("loudness_lufs", text.loudness, told?.loudness_lufs ? text.targets : [], text.asItIs)}
          {form?.kind === "video" &&
            choice(
              "picture",
              text.picture,
              (told?.video?.pictures ?? []).map((each) => [each, text.pictures[each] ?? each]),
              text.usual,
            )}
          {form?.kind === "video" && choice("size", text.size, plain(told?.video?.sizes), text.usual)}
        </div>
        <div class="grid">
          {number("from", text.from)}
          {number("to", text.to)}
          {told?.format_options && number("fade_in_s", text.fadeIn)}
          {told?.format_options && number("fade_out_s", text.fadeOut)}
          {told?.format_options && number("tail_s", text.tail)}
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
        <Licences
          open={open}
          last={values.line === "chosen" && aside ? aside.id : (open.spine.at(-1) ?? open.root_id)}
        />
        {error !== null && (
          <p class="bad-word" role="alert">
            {sentence(error)}
          </p>
        )}
        <p class="dialog-foot">
          <button class="button main" type="submit" disabled={busy}>
            <span>{busy ? text.making : text.make}</span>
          </button>
        </p>
      </form>
    </Dialog>
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
