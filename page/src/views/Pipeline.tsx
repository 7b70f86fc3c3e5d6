// A whole track taken apart: upload, stages, tracks to hear and download, and earlier ones.
import { signal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError } from "../api/client.ts";
import type { JobListView, JobView, ManifestView, OutputsView, ProcessAcceptedView } from "../api/schema.ts";
import { Player } from "../audio/player.ts";
import { WavSource } from "../audio/sources.ts";
import { clock } from "../model/time.ts";
import { download, intention } from "../state/actions.ts";
import { attempt, client, complain, config, go, jobs, progress, route } from "../state/store.ts";
import { words } from "../words.ts";
import { Button, Meter } from "./controls.tsx";
import { stemName } from "./Stems.tsx";

const history = signal<JobView[] | null>(null);
const sending = signal<string | null>(null);

export async function takeApart(file: Blob, name: string): Promise<void> {
  sending.value = name;
  const form = new FormData();
  form.append("file", file, name);
  const made = await attempt(() => client.post<ProcessAcceptedView>("process", form, intention()));
  sending.value = null;
  if (made !== undefined) go({ view: "pipeline", jobId: made.job_id });
}

export function Pipeline() {
  const jobId = route.value.view === "pipeline" ? route.value.jobId : null;
  const picker = useRef<HTMLInputElement>(null);
  useEffect(() => {
    void attempt(async () => {
      const list = await client.get<JobListView>("v1/jobs", { limit: 100 });
      history.value = list.jobs.filter((job) => job.kind === "process");
    });
  }, [jobId]);
  const limits = config.value?.process;
  return (
    <div class="pipeline">
      <nav class="library" aria-label={words.pipeline.history}>
        <h2>{words.pipeline.history}</h2>
        {history.value?.length === 0 && <p class="faint">{words.pipeline.empty}</p>}
        <ul>
          {history.value?.map((job) => (
            <li key={job.id} class={job.id === jobId ? "current" : ""}>
              <a href={`#/pipeline/${job.id}`} aria-current={job.id === jobId ? "page" : undefined}>
                {new Date(job.created_at).toLocaleString()} ·{" "}
                {words.pipeline.states[jobs.value.get(job.id)?.state ?? job.state]}
              </a>
            </li>
          ))}
        </ul>
      </nav>
      <main id="main">
        <section class="start small" aria-labelledby="pipeline-title">
          <h1 id="pipeline-title">{words.pipeline.title}</h1>
          <p class="lead">{words.pipeline.lead}</p>
          <div class="drop slim">
            <p class="drop-word">
              {sending.value ? words.start.uploading(sending.value) : words.pipeline.drop}
            </p>
            <Button
              label={words.pipeline.pick}
              kind="main"
              disabled={sending.value !== null}
              onClick={() => picker.current?.click()}
            />
            <input
              ref={picker}
              hidden
              type="file"
              accept="audio/*,video/mp4"
              onChange={(event) => {
                const file = event.currentTarget.files?.[0];
                event.currentTarget.value = "";
                if (file) void takeApart(file, file.name);
              }}
            />
            {limits?.max_bytes && limits.max_duration_s && (
              <p class="faint">
                {words.pipeline.limits(Math.round(limits.max_bytes / 1e6), limits.max_duration_s)}
              </p>
            )}
          </div>
        </section>
        {jobId !== null && <Manifest jobId={jobId} />}
      </main>
    </div>
  );
}

/** One job: its manifest, read anew whenever something of it changes. */
function Manifest({ jobId }: { jobId: string }) {
  const [manifest, setManifest] = useState<ManifestView | null>(null);
  const [outputs, setOutputs] = useState<OutputsView | null>(null);
  const [gone, setGone] = useState(false);
  const told = jobs.value.get(jobId);
  const done = progress.value.get(jobId)?.progress ?? manifest?.progress ?? 0;
  const isDone = manifest !== null && manifest.finished_at !== null;
  useEffect(() => {
    setManifest(null);
    setOutputs(null);
    setGone(false);
  }, [jobId]);
  useEffect(() => {
    const control = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const read = async () => {
      try {
        const found = await client.get<ManifestView>(`job/${jobId}`, {}, { signal: control.signal });
        setManifest(found);
        setOutputs(await client.get<OutputsView>(`job/${jobId}/outputs`, {}, { signal: control.signal }));
        if (found.finished_at === null) timer = setTimeout(read, 1000);
      } catch (error) {
        if (control.signal.aborted) return;
        if (error instanceof ApiError && (error.status === 410 || error.status === 404)) setGone(true);
        else {
          complain(error);
          timer = setTimeout(read, 3000);
        }
      }
    };
    void read();
    return () => {
      clearTimeout(timer);
      control.abort();
    };
  }, [jobId, told?.state]);
  if (manifest === null)
    return gone ? <p class="bad-word">{words.pipeline.again}</p> : <p class="loading">…</p>;
  return (
    <section class="manifest" aria-label={manifest.source.filename}>
      <header class="manifest-head">
        <h2>{manifest.source.filename}</h2>
        <span class="faint">
          {clock(manifest.source.duration_s)} · {words.pipeline.states[manifest.status] ?? manifest.status}
        </span>
        {!isDone && (
          <Button
            label={words.pipeline.cancel}
            onClick={() => attempt(() => client.send("DELETE", `v1/jobs/${jobId}`))}
          />
        )}
        {isDone && !gone && outputs !== null && outputs.outputs.length > 0 && (
          <Button
            label={words.pipeline.all}
            icon="download"
            kind="main"
            onClick={() => attempt(() => download(`download/${jobId}/all`, "tracks.zip"))}
          />
        )}
      </header>
      {!isDone && <Meter value={done} label={words.pipeline.stages} />}
      {manifest.error && <p class="bad-word">{manifest.error.detail}</p>}
      {gone && <p class="bad-word">{words.pipeline.again}</p>}
      <h3>{words.pipeline.stages}</h3>
      <ol class="stages">
        {manifest.stages.map((stage) => (
          <li key={stage.name}>
            <span class={`lamp ${stage.state}`} aria-hidden="true" />
            <span>{words.pipeline.stageNames[stage.name] ?? stage.name}</span>
            <span class="faint">
              {words.pipeline.states[stage.state] ?? stage.state}
              {stage.seconds > 0 ? ` · ${stage.seconds.toFixed(1)} s` : ""}
            </span>
            {stage.error && <span class="bad-word">{stage.error.detail}</span>}
          </li>
        ))}
      </ol>
      {outputs !== null && outputs.outputs.length > 0 && !gone && (
        <>
          <h3>{words.pipeline.tracks}</h3>
          <ul class="tracks">
            {outputs.outputs.map((track) => (
              <li key={track.name}>
                <span class="track-name">{stemName(track.name.replaceAll("_", " "))}</span>
                <span class="faint">
                  {clock(track.duration_s)} · {words.facts.dbfs(track.peak_dbfs)}
                </span>
                {track.format === "wav" && <Hear track={track} />}
                <Button
                  label={words.pipeline.download(track.name)}
                  icon="download"
                  bare
                  kind="quiet"
                  onClick={() => attempt(() => download(track.url, `${track.name}.${track.format}`))}
                />
              </li>
            ))}
          </ul>
        </>
      )}
    </section>
  );
}

const hearing = signal<string | null>(null);
const player = new Player();
player.onEnded = () => {
  hearing.value = null;
};

function Hear({ track }: { track: OutputsView["outputs"][number] }) {
  useEffect(
    () => () => {
      if (hearing.peek() === track.url) {
        player.pause();
        hearing.value = null;
      }
    },
    [track.url],
  );
  const active = hearing.value === track.url;
  return (
    <Button
      label={active ? words.pipeline.stop : words.pipeline.hear(track.name)}
      icon={active ? "pause" : "play"}
      bare
      kind="quiet"
      onClick={async () => {
        if (active) {
          player.pause();
          hearing.value = null;
          return;
        }
        hearing.value = track.url;
        await player.reset(track.sample_rate_hz);
        const source = new WavSource(client, track.url, track.channels);
        player.setLanes([{ id: track.url, start: 0, end: track.samples, gain: 1, source }]);
        await attempt(() => player.play(false));
      }}
    />
  );
}
