// The line as a file, in every format that the server offers.
import { useState } from "preact/hooks";
import type { Chain, FormatOptions } from "../model/chain.ts";
import { fieldMessage, sentence } from "../model/problems.ts";
import { exportLine, intention } from "../state/actions.ts";
import { mixer } from "../state/sound.ts";
import { config, dialog, models, selected, toast } from "../state/store.ts";
import { words } from "../words.ts";
import { Dialog, Field } from "./controls.tsx";
import { Licence } from "./Inspector.tsx";
import { withMix } from "./Stems.tsx";

/** What the server says of its formats, whether it lists names or describes them. */
export function formatsOf(told: unknown): FormatOptions[] {
  if (Array.isArray(told))
    return told.map((each) =>
      typeof each === "string" ? { format: each, ...USUAL[each] } : { ...(each as FormatOptions) },
    );
  if (typeof told === "object" && told !== null)
    return Object.entries(told).map(([format, options]) => ({ ...(options as object), format }));
  return [];
}

const USUAL: Record<string, { bit_depth: number[] }> = {
  wav: { bit_depth: [16, 24, 32] },
  flac: { bit_depth: [16, 24] },
};

export function ExportDialog({ open }: { open: Chain }) {
  const formats = formatsOf(config.value?.export.formats);
  const [format, setFormat] = useState(formats[0]?.format ?? "wav");
  const [values, setValues] = useState<Record<string, string>>({});
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const [key] = useState(intention);
  const chosen = formats.find((each) => each.format === format);
  const close = () => {
    withMix.value = false;
    dialog.value = null;
  };
  const submit = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    const body: Record<string, unknown> = { format };
    for (const [name, value] of Object.entries(values))
      if (value !== "") body[name] = Number.isNaN(Number(value)) ? value : Number(value);
    const desk = mixer.value;
    if (withMix.value && desk !== null) {
      body.node_id = desk.nodeId;
      const soloed = desk.strips.some((strip) => strip.solo);
      body.mix = Object.fromEntries(
        desk.strips
          .filter((strip) => !strip.muted && (!soloed || strip.solo) && strip.db > -60)
          .map((strip) => [strip.name, strip.db]),
      );
    }
    try {
      const name = await exportLine(
        open,
        body,
        `${key}-${JSON.stringify(body).length}-${hash(JSON.stringify(body))}`,
      );
      toast(words.export.done(name));
      close();
    } catch (problem) {
      setError(problem);
    }
    setBusy(false);
  };
  const set = (name: string, value: string) => setValues({ ...values, [name]: value });
  const licences = licencesOf(open);
  return (
    <Dialog title={words.export.title} onClose={close}>
      <form onSubmit={submit} class="export">
        <fieldset class="formats">
          <legend>{words.export.format}</legend>
          {formats.map((each) => (
            <label key={each.format} class="choice">
              <input
                type="radio"
                name="format"
                value={each.format}
                checked={each.format === format}
                onChange={() => {
                  setFormat(each.format);
                  setValues({});
                }}
              />
              <span>{words.export.formats[each.format] ?? each.format.toUpperCase()}</span>
            </label>
          ))}
        </fieldset>
        <div class="grid">
          {chosen && <Options format={chosen} values={values} set={set} error={error} />}
        </div>
        <div class="grid">
          <Field label={words.export.from} error={fieldMessage(error, "from")}>
            <input
              type="number"
              min={0}
              step="any"
              value={values.from ?? ""}
              onInput={(event) => set("from", event.currentTarget.value)}
            />
          </Field>
          <Field label={words.export.to} error={fieldMessage(error, "to")}>
            <input
              type="number"
              min={0}
              step="any"
              value={values.to ?? ""}
              onInput={(event) => set("to", event.currentTarget.value)}
            />
          </Field>
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
            <span>{words.export.mix}</span>
          </label>
        )}
        {licences.length > 0 && (
          <p class="faint">
            {words.facts.licence}:{" "}
            {licences.map((name, index) => (
              <span key={name}>
                {index > 0 ? ", " : ""}
                <Licence name={name} />
              </span>
            ))}
          </p>
        )}
        {error !== null && (
          <p class="bad-word" role="alert">
            {sentence(error)}
          </p>
        )}
        <p class="dialog-foot">
          <button class="button main" type="submit" disabled={busy}>
            <span>{busy ? words.export.making : words.export.make}</span>
          </button>
        </p>
      </form>
    </Dialog>
  );
}

type OptionsProps = {
  format: FormatOptions;
  values: Record<string, string>;
  set: (name: string, value: string) => void;
  error: unknown;
};

/** A list of values is a choice, a range a number, `true` a switch; names without words are left out. */
function Options({ format, values, set, error }: OptionsProps) {
  return (
    <>
      {Object.entries(format).map(([name, told]) => {
        const label = words.export.fields[name];
        if (label === undefined) return null;
        const message = fieldMessage(error, name);
        if (Array.isArray(told))
          return (
            <Field key={name} label={label} error={message}>
              <select value={values[name] ?? ""} onChange={(event) => set(name, event.currentTarget.value)}>
                <option value="">
                  {name === "sample_rate_hz" ? words.export.asChain : words.export.usual}
                </option>
                {told.map((value) => (
                  <option key={String(value)} value={String(value)}>
                    {String(value)}
                  </option>
                ))}
              </select>
            </Field>
          );
        const range = (typeof told === "object" && told !== null ? told : {}) as {
          min?: number;
          max?: number;
        };
        return (
          <Field key={name} label={label} error={message}>
            <input
              type="number"
              step="any"
              min={range.min}
              max={range.max}
              value={values[name] ?? ""}
              onInput={(event) => set(name, event.currentTarget.value)}
            />
          </Field>
        );
      })}
    </>
  );
}

function licencesOf(open: Chain): string[] {
  const line = new Set(open.spine);
  const names = open.nodes.filter((node) => line.has(node.id)).map((node) => node.params.model);
  const served = models.value?.models ?? [];
  void selected.value;
  return [...new Set(served.filter((model) => names.includes(model.name)).map((model) => model.licence))];
}

/** One Idempotency-Key for each set of options. */
function hash(text: string): number {
  let value = 0;
  for (let index = 0; index < text.length; index++) value = (31 * value + text.charCodeAt(index)) | 0;
  return value >>> 0;
}
