// The page as a whole.
import { useEffect, useState } from "preact/hooks";
import {
  attempt,
  chain,
  client,
  connection,
  dialog,
  dismiss,
  route,
  spoken,
  toasts,
  unfinishedJobs,
  useKey,
  wantsKey,
} from "../state/store.ts";
import { type Theme, theme } from "../state/theme.ts";
import { words } from "../words.ts";
import { AbxDialog } from "./Abx.tsx";
import { Compare } from "./Compare.tsx";
import { Button, Dialog, Field } from "./controls.tsx";
import { ExportDialog } from "./ExportDialog.tsx";
import { take } from "./Library.tsx";
import { Pipeline, takeApart } from "./Pipeline.tsx";
import { Studio } from "./Studio.tsx";

export function App() {
  const view = route.value.view;
  return (
    <>
      <button
        type="button"
        class="skip"
        onClick={() => {
          const find = (selector: string) => document.querySelector<HTMLElement>(selector);
          (find('[role="treeitem"][tabindex="0"]') ?? find("main button"))?.focus();
        }}
      >
        {words.skip}
      </button>
      <TopBar />
      {view === "pipeline" ? <Pipeline /> : <Studio />}
      <DropArea />
      <Toasts />
      <p class="visually-hidden" role="status" aria-live="polite">
        {spoken.value}
      </p>
      {dialog.value === "help" && <Help />}
      {chain.value !== null && dialog.value === "export" && <ExportDialog open={chain.value} />}
      {chain.value !== null && dialog.value === "compare" && <Compare open={chain.value} />}
      {chain.value !== null && dialog.value === "abx" && <AbxDialog open={chain.value} />}
      {wantsKey.value !== "no" && <KeyPrompt />}
    </>
  );
}

function TopBar() {
  const view = route.value.view;
  return (
    <header class="top">
      <a class="mark" href="#/">
        <svg viewBox="0 0 32 20" aria-hidden="true">
          <path d="M2 14c7 0 7-9 14-9s7 9 14 9" />
        </svg>
        {words.product}
      </a>
      <nav aria-label={words.nav.label}>
        <a href="#/" aria-current={view === "studio" ? "page" : undefined}>
          {words.nav.studio}
        </a>
        <a href="#/pipeline" aria-current={view === "pipeline" ? "page" : undefined}>
          {words.nav.pipeline}
        </a>
      </nav>
      <Jobs />
      <span class={`connection ${connection.value}`} title={words.connection[connection.value]}>
        <span class="lamp" aria-hidden="true" />
        {words.connection.short[connection.value]}
      </span>
      <label class="theme">
        <span class="visually-hidden">{words.theme.label}</span>
        <select
          value={theme.value}
          onChange={(event) => {
            theme.value = event.currentTarget.value as Theme;
          }}
        >
          <option value="auto">{words.theme.auto}</option>
          <option value="dark">{words.theme.dark}</option>
          <option value="light">{words.theme.light}</option>
        </select>
      </label>
      <Button
        label={words.help.open}
        icon="help"
        bare
        kind="quiet"
        shortcut="?"
        onClick={() => {
          dialog.value = "help";
        }}
      />
    </header>
  );
}

/** What is being made, in whatever chain; each can be cancelled. */
function Jobs() {
  const active = unfinishedJobs.value;
  return (
    <details class="jobs">
      <summary>{active.length > 0 ? words.jobs.some(active.length) : words.jobs.none}</summary>
      {active.length > 0 && (
        <ul>
          {active.map((job) => (
            <li key={job.id}>
              <a href={job.kind === "process" ? `#/pipeline/${job.id}` : `#/chain/${job.chain_id ?? ""}`}>
                {words.jobs.kinds[job.kind] ?? job.kind}
              </a>
              <span class="faint">{words.pipeline.states[job.state]}</span>
              <Button
                label={words.jobs.cancel}
                icon="close"
                bare
                kind="quiet"
                onClick={() => attempt(() => client.send("DELETE", `v1/jobs/${job.id}`))}
              />
            </li>
          ))}
        </ul>
      )}
    </details>
  );
}

function Toasts() {
  return (
    <div class="toasts">
      {toasts.value.map((each) => (
        <div key={each.id} class={`toast ${each.bad ? "bad" : ""}`}>
          <span>{each.text}</span>
          {each.action && (
            <Button
              label={each.action.label}
              onClick={() => {
                each.action?.run();
                dismiss(each.id);
              }}
            />
          )}
          <Button
            label={words.common.dismiss}
            icon="close"
            bare
            kind="quiet"
            onClick={() => dismiss(each.id)}
          />
        </div>
      ))}
      {connection.value === "lost" && <div class="toast bad">{words.connection.lost}</div>}
    </div>
  );
}

function Help() {
  return (
    <Dialog
      title={words.help.title}
      onClose={() => {
        dialog.value = null;
      }}
    >
      <table class="keys">
        <tbody>
          {words.keys.map(([key, meaning]) => (
            <tr key={key}>
              <th scope="row">
                <kbd>{key}</kbd>
              </th>
              <td>{meaning}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Dialog>
  );
}

function KeyPrompt() {
  const [key, setKey] = useState("");
  const wrong = wantsKey.value === "wrong";
  return (
    <Dialog title={words.key.title}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (key.trim()) useKey(key.trim());
        }}
      >
        <p>{words.key.lead}</p>
        <Field label={words.key.label} error={wrong ? words.key.wrong : null}>
          <input
            type="password"
            autocomplete="off"
            required
            value={key}
            aria-invalid={wrong}
            onInput={(event) => setKey(event.currentTarget.value)}
          />
        </Field>
        <p class="dialog-foot">
          <button class="button main" type="submit">
            <span>{words.key.use}</span>
          </button>
        </p>
      </form>
    </Dialog>
  );
}

/** A file may be dropped anywhere. */
function DropArea() {
  const [over, setOver] = useState(false);
  useEffect(() => {
    let depth = 0;
    const carries = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
    const enter = (event: DragEvent) => {
      if (carries(event) && depth++ === 0) setOver(true);
    };
    const leave = (event: DragEvent) => {
      if (carries(event) && --depth <= 0) {
        depth = 0;
        setOver(false);
      }
    };
    const hold = (event: DragEvent) => {
      if (carries(event)) event.preventDefault();
    };
    const drop = (event: DragEvent) => {
      const file = event.dataTransfer?.files[0];
      depth = 0;
      setOver(false);
      if (!file) return;
      event.preventDefault();
      void (route.peek().view === "pipeline" ? takeApart(file, file.name) : take(file, file.name));
    };
    addEventListener("dragenter", enter);
    addEventListener("dragleave", leave);
    addEventListener("dragover", hold);
    addEventListener("drop", drop);
    return () => {
      removeEventListener("dragenter", enter);
      removeEventListener("dragleave", leave);
      removeEventListener("dragover", hold);
      removeEventListener("drop", drop);
    };
  }, []);
  return over ? <div class="drop-over">{words.start.dropNow}</div> : null;
}
