// The ABX test: which two takes and how many trials; then three sounds and one question, over and over; then its result.
import { useMemo, useState } from "preact/hooks";
import { type Abx, chance, isOver, rightOf, TRIALS } from "../model/abx.ts";
import type { Chain, Take } from "../model/chain.ts";
import { isDiscarded, isReady } from "../model/tree.ts";
import { abx, answer, beginAbx, type Choice, endAbx, hear, hearing } from "../state/abx.ts";
import { dialog } from "../state/store.ts";
import { words } from "../words.ts";
import { pair } from "./Compare.tsx";
import { Button, Dialog, Field, TakeChoice } from "./controls.tsx";

const CHOICES: [Choice, string][] = [
  ["a", "A"],
  ["b", "B"],
  ["x", "X"],
];

/** In the place of the takes, while the test runs. */
export function AbxPanel({ test }: { test: Abx }) {
  if (isOver(test)) return null;
  return (
    <fieldset class="switch">
      <legend class="visually-hidden">{words.abx.title}</legend>
      {CHOICES.map(([choice, name], index) => (
        <button
          key={choice}
          type="button"
          class="chip"
          aria-label={words.abx.hear(name)}
          aria-pressed={hearing.value === choice}
          aria-keyshortcuts={String(index + 1)}
          onClick={() => hear(choice)}
        >
          {name}
        </button>
      ))}
      <Button label={words.abx.is("A")} shortcut="A" onClick={() => answer(true)} />
      <Button label={words.abx.is("B")} shortcut="B" onClick={() => answer(false)} />
      <span class="faint">{words.abx.trial(test.answers.length + 1, test.trials)}</span>
      <Button label={words.abx.stop} kind="quiet" onClick={endAbx} />
    </fieldset>
  );
}

export function AbxDialog({ open }: { open: Chain }) {
  const test = abx.value;
  const isResult = test !== null && isOver(test);
  return (
    <Dialog
      title={words.abx.title}
      onClose={() => {
        if (isResult) endAbx();
        dialog.value = null;
      }}
    >
      {isResult ? <Result test={test} /> : <Begin open={open} />}
    </Dialog>
  );
}

function Begin({ open }: { open: Chain }) {
  const ready = (open.nodes as Take[]).filter((take) => isReady(take) && !isDiscarded(take));
  const first = useMemo(() => pair(open, ready), []);
  const [a, setA] = useState(first[0]);
  const [b, setB] = useState(first[1]);
  const [trials, setTrials] = useState(TRIALS[1] as number);
  // Two takes of one place: the line around them is the same.
  const parent = ready.find((take) => take.id === a)?.parent_id;
  const beside = ready.filter((take) => take.parent_id === parent);
  const other = beside.some((take) => take.id === b && b !== a)
    ? b
    : (beside.find((take) => take.id !== a)?.id ?? "");
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        beginAbx(a, other, trials);
      }}
    >
      <p class="faint">{words.abx.lead}</p>
      <div class="grid">
        <TakeChoice open={open} label={words.abx.a} takes={ready} value={a} onChange={setA} />
        <TakeChoice
          open={open}
          label={words.abx.b}
          takes={beside.filter((take) => take.id !== a)}
          value={other}
          onChange={setB}
        />
        <Field label={words.abx.trials}>
          <select value={String(trials)} onChange={(event) => setTrials(Number(event.currentTarget.value))}>
            {TRIALS.map((count) => (
              <option key={count}>{count}</option>
            ))}
          </select>
        </Field>
      </div>
      <p class="dialog-foot">
        <button class="button main" type="submit" disabled={other === ""}>
          <span>{words.abx.begin}</span>
        </button>
      </p>
    </form>
  );
}

function Result({ test }: { test: Abx }) {
  const right = rightOf(test);
  const p = chance(right, test.trials);
  return (
    <div class="abx-result" role="status">
      <p class="lead-number">{words.abx.result(right, test.trials)}</p>
      <p>
        <strong>{words.abx.chance(p)}</strong> {words.abx.verdict(p)}
      </p>
      <p class="faint">{words.abx.meaning(right, p)}</p>
      <p class="dialog-foot">
        <Button label={words.abx.again} onClick={() => beginAbx(test.a, test.b, test.trials)} />
      </p>
    </div>
  );
}
