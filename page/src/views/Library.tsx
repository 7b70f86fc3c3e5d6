// The chains of this musician, and the ways to begin one.
import { signal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { Recorder } from "../audio/recorder.ts";
import { beginWithWords, duplicate, removeChain, upload } from "../state/actions.ts";
import { chainId, complain, config, go, summaries } from "../state/store.ts";
import { words } from "../words.ts";
import { Button, Field } from "./controls.tsx";

export function Library() {
  const list = summaries.value;
  return (
    <nav class="library" aria-label={words.library.title}>
      <h2>{words.library.title}</h2>
      <Button
        label={words.start.title}
        icon="plus"
        kind="quiet"
        onClick={() => go({ view: "studio", chainId: null })}
      />
      {list === null && <p class="faint">{words.library.loading}</p>}
      {list?.length === 0 && <p class="faint">{words.library.empty}</p>}
      <ul>
        {list?.map((each) => (
          <li key={each.id} class={each.id === chainId.value ? "current" : ""}>
            <a href={`#/chain/${each.id}`} aria-current={each.id === chainId.value ? "page" : undefined}>
              {each.title || words.library.untitled}
            </a>
            {each.id === chainId.value && (
              <span class="library-tools">
                <Button
                  label={words.library.copy}
                  icon="branch"
                  bare
                  kind="quiet"
                  onClick={() => duplicate(each.id)}
                />
                <Button
                  label={words.library.remove}
                  icon="trash"
                  bare
                  kind="quiet"
                  onClick={() => {
                    if (confirm(words.library.removeAsk(each.title || words.library.untitled)))
                      void removeChain(each.id);
                  }}
                />
              </span>
            )}
          </li>
        ))}
      </ul>
    </nav>
  );
}

export const uploading = signal<string | null>(null);

/** Takes a file from wherever it came. */
export async function take(file: File | Blob, name: string): Promise<void> {
  uploading.value = name;
  await upload(file, name);
  uploading.value = null;
}

/** Where a chain begins: a dropped clip, a chosen one, the microphone, or words. */
export function Start() {
  const picker = useRef<HTMLInputElement>(null);
  const [prompt, setPrompt] = useState("");
  const [busy, setBusy] = useState(false);
  const limits = config.value?.uploads;
  return (
    <section class="start" aria-labelledby="start-title">
      <h1 id="start-title">{words.start.title}</h1>
      <p class="lead">{words.start.lead}</p>
      <div class="start-ways">
        <div class={`drop ${uploading.value ? "busy" : ""}`}>
          <Wave />
          <p class="drop-word">
            {uploading.value ? words.start.uploading(uploading.value) : words.start.drop}
          </p>
          <div class="row">
            <Button
              label={words.start.pick}
              kind="main"
              disabled={uploading.value !== null}
              onClick={() => picker.current?.click()}
            />
            <RecordButton />
          </div>
          <input
            ref={picker}
            hidden
            type="file"
            accept="audio/*,video/mp4,.caf,.w64,.flac,.opus"
            onChange={(event) => {
              const file = event.currentTarget.files?.[0];
              event.currentTarget.value = "";
              if (file) void take(file, file.name);
            }}
          />
          {limits && (
            <p class="faint">
              {words.start.limits(Math.round(limits.max_bytes / 1e6), limits.max_duration_s)}
            </p>
          )}
        </div>
        <form
          class="from-words"
          onSubmit={async (event) => {
            event.preventDefault();
            setBusy(true);
            await beginWithWords(prompt, 10);
            setBusy(false);
          }}
        >
          <p class="faint">{words.start.fromWords}</p>
          <Field label={words.start.prompt}>
            <textarea
              rows={2}
              required
              value={prompt}
              placeholder={words.start.promptHint}
              onInput={(event) => setPrompt(event.currentTarget.value)}
            />
          </Field>
          <button class="button" type="submit" disabled={busy || prompt.trim() === ""}>
            <span>{words.start.make}</span>
          </button>
        </form>
      </div>
    </section>
  );
}

/** A quiet ornament: one waveform that becomes another. */
function Wave() {
  const bars = Array.from({ length: 48 }, (_, index) => {
    const x = index / 47;
    const height = 6 + 26 * Math.abs(Math.sin(x * 9) * Math.sin(x * 3.1 + 0.4)) + (x > 0.62 ? 5 : 0);
    return (
      <rect
        key={index}
        x={index * 5}
        y={36 - height / 2}
        width={2.5}
        height={height}
        rx={1.25}
        class={x > 0.62 ? "new" : ""}
      />
    );
  });
  return (
    <svg class="ornament" viewBox="0 0 240 72" aria-hidden="true">
      {bars}
    </svg>
  );
}

function RecordButton() {
  const recorder = useRef<Recorder | null>(null);
  const [seconds, setSeconds] = useState<number | null>(null);
  useEffect(() => () => recorder.current?.cancel(), []);
  const start = async () => {
    try {
      recorder.current = await Recorder.open(setSeconds);
      setSeconds(0);
    } catch {
      complain(new Error(words.start.noMicrophone));
    }
  };
  const stop = async (use: boolean) => {
    const active = recorder.current;
    recorder.current = null;
    setSeconds(null);
    if (active === null) return;
    if (!use) return active.cancel();
    const file = await active.stop();
    await take(file, `${words.start.recordedTitle} ${new Date().toLocaleString()}.wav`);
  };
  if (seconds === null) return <Button label={words.start.record} icon="record" onClick={start} />;
  return (
    <span class="row">
      <span class="recording">{words.start.recording(seconds)}</span>
      <Button label={words.start.stop} kind="main" onClick={() => stop(true)} />
      <Button label={words.start.cancel} kind="quiet" onClick={() => stop(false)} />
    </span>
  );
}
