// Two takes side by side: bar by bar what differs, and the settings that differ; each bar can be heard in both.
import { useComputed } from "@preact/signals";
import { useEffect, useMemo, useState } from "preact/hooks";
import type { DiffRowView, DiffView } from "../api/schema.ts";
import type { Chain, Take } from "../model/chain.ts";
import { gathered, type ShownRow, strength } from "../model/diff.ts";
import { sentence } from "../model/problems.ts";
import { byId, isDiscarded, isReady, rateOf, samplesOf, startOf } from "../model/tree.ts";
import { compare } from "../state/actions.ts";
import { choices, hearAt, heardId, playing, position, togglePlay } from "../state/sound.ts";
import { dialog, selected } from "../state/store.ts";
import { words } from "../words.ts";
import { Button, Dialog, TakeChoice } from "./controls.tsx";

type Found = DiffView | { error: unknown } | null;

/** Two takes to begin with: the chosen one, and one beside it. */
export function pair(open: Chain, ready: Take[]): [string, string] {
  const chosen = ready.find((take) => take.id === selected.peek()?.id);
  const beside = choices.peek().filter((take) => isReady(take) && !isDiscarded(take));
  const a = chosen && (beside.length > 1 || ready.length < 2) ? chosen : (beside[0] ?? ready[0]);
  const b = [...beside, ...ready].find((take) => take.id !== a?.id);
  const ids = [a?.id ?? open.root_id, b?.id ?? ""];
  return ids as [string, string];
}

export function Compare({ open }: { open: Chain }) {
  const ready = (open.nodes as Take[]).filter(isReady);
  const first = useMemo(() => pair(open, ready), []);
  const [a, setA] = useState(first[0]);
  const [b, setB] = useState(first[1]);
  const [found, setFound] = useState<Found>(null);
  const { compare: text } = words;

  useEffect(() => {
    setFound(null);
    if (b === "" || a === b) return;
    const control = new AbortController();
    compare(open, a, b, control.signal).then(setFound, (error: unknown) => {
      if (!control.signal.aborted) setFound({ error });
    });
    return () => control.abort();
  }, [a, b]);

  const nodes = byId(open) as Map<string, Take>;
  const [one, other] = [nodes.get(a), nodes.get(b)];
  return (
    <Dialog
      title={text.title}
      wide
      onClose={() => {
        dialog.value = null;
      }}
    >
      <div class="grid">
        <TakeChoice open={open} label={text.a} takes={ready} value={a} onChange={setA} />
        <TakeChoice open={open} label={text.b} takes={ready} value={b} onChange={setB} />
      </div>
      <div aria-live="polite" class="diff">
        {b === "" && <p class="faint">{text.alone}</p>}
        {a === b && <p class="faint">{text.tooFar}</p>}
        {b !== "" && a !== b && found === null && <p class="faint">{text.loading}</p>}
        {found !== null && "error" in found && <p class="bad-word">{sentence(found.error)}</p>}
        {found !== null && "rows" in found && one && other && (
          <Rows open={open} found={found} a={one} b={other} />
        )}
      </div>
    </Dialog>
  );
}

function Rows({ open, found, a, b }: { open: Chain; found: DiffView; a: Take; b: Take }) {
  const { compare: text } = words;
  const shown = useMemo(() => gathered(found.rows), [found]);
  const same = found.rows.filter((row) => row.same).length;
  const rate = rateOf(open);
  const now = useComputed(() => {
    const side = heardId.value === b.id ? "b" : "a";
    const seconds = position.value / rate;
    return shown.findIndex(({ row }) => {
      const [from, to] = [row[`${side}_from_s`], row[`${side}_to_s`]];
      return from !== null && to !== null && seconds >= from && seconds < to;
    });
  });
  const shared = open.nodes.find((node) => node.id === found.ancestor_id);
  const sharedS = shared ? (startOf(open, shared.id) + samplesOf(open, shared)) / rate : 0;
  return (
    <>
      <p>
        {text.verdict(same, found.rows.length)}
        {sharedS > 0 && <span class="faint"> {text.shared(sharedS)}</span>}
        {found.unit === "window" && <span class="faint"> {text.windows}</span>}
      </p>
      <div class="diff-map" aria-hidden="true">
        {found.rows.map((row, index) => (
          <span
            key={index}
            style={{ flexGrow: String(lengthOf(row)), "--strength": String(strength(row)) }}
          />
        ))}
      </div>
      <div class="row">
        <Button
          label={playing.value ? words.transport.pause : words.transport.play}
          icon={playing.value ? "pause" : "play"}
          onClick={togglePlay}
        />
      </div>
      <table class="diff-rows">
        <thead>
          <tr>
            <th scope="col">{text.units[found.unit] ?? found.unit}</th>
            <th scope="col">{text.a}</th>
            <th scope="col">{text.b}</th>
            <th scope="col">{text.harmony}</th>
            <th scope="col">{text.rhythm}</th>
            <th scope="col">{text.loudness}</th>
          </tr>
        </thead>
        <tbody>
          {shown.map((each, index) => (
            <Row key={each.first} each={each} a={a} b={b} isNow={now.value === index} />
          ))}
        </tbody>
      </table>
      <h3>{text.settings}</h3>
      {found.parameters.length === 0 ? (
        <p class="faint">{text.noSettings}</p>
      ) : (
        <table class="diff-rows">
          <thead>
            <tr>
              <td />
              <th scope="col">{text.a}</th>
              <th scope="col">{text.b}</th>
            </tr>
          </thead>
          <tbody>
            {found.parameters.map(({ name, a: one, b: other }) => (
              <tr key={name}>
                <th scope="row">{name.replaceAll("_", " ")}</th>
                <td>{written(one)}</td>
                <td>{written(other)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </>
  );
}

function Row({ each, a, b, isNow }: { each: ShownRow; a: Take; b: Take; isNow: boolean }) {
  const { compare: text } = words;
  const { row, first, last } = each;
  const hear = (take: Take, name: string, seconds: number | null) =>
    seconds !== null && (
      <Button
        label={text.hear(name, seconds)}
        icon="play"
        bare
        kind="quiet"
        onClick={() => hearAt(take, seconds)}
      />
    );
  const alone = row.a_from_s === null ? text.b : row.b_from_s === null ? text.a : null;
  return (
    <tr class={`${row.same ? "same" : ""} ${isNow ? "now" : ""}`}>
      <th scope="row">
        <span class="swatch" style={{ "--strength": String(strength(row)) }} aria-hidden="true" />
        {text.numbers(first, last)}
      </th>
      <td>{hear(a, text.a, row.a_from_s)}</td>
      <td>{hear(b, text.b, row.b_from_s)}</td>
      {row.same || alone !== null ? (
        <td colSpan={3}>{row.same ? text.same : text.only(alone as string)}</td>
      ) : (
        <>
          <td>{row.chroma !== null && text.percent(row.chroma)}</td>
          <td>{row.onsets !== null && text.percent(row.onsets)}</td>
          <td>{row.loudness !== null && text.lu(row.loudness)}</td>
        </>
      )}
    </tr>
  );
}

function lengthOf(row: DiffRowView): number {
  const [from, to] = row.a_from_s === null ? [row.b_from_s, row.b_to_s] : [row.a_from_s, row.a_to_s];
  return (to ?? 0) - (from ?? 0);
}

function written(value: unknown): string {
  if (value === null || value === undefined || value === "") return words.compare.none;
  return typeof value === "string" ? value : JSON.stringify(value);
}
