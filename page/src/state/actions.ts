// What a musician does to chains and takes.
import { ApiError } from "../api/client.ts";
import type {
  AcceptedView,
  BranchView,
  ChainView,
  CropView,
  DiffView,
  JobView,
  NodeView,
  StemsView,
} from "../api/schema.ts";
import type { Chain, Take } from "../model/chain.ts";
import { words } from "../words.ts";
import { mixer, player, type StemStrip } from "./sound.ts";
import {
  addNode,
  attempt,
  chain,
  client,
  ended,
  go,
  say,
  selectedId,
  showChain,
  summaries,
  takeName,
  toast,
} from "./store.ts";

const at = (chainId: string, nodeId?: string) =>
  `v1/chains/${chainId}${nodeId === undefined ? "" : `/nodes/${nodeId}`}`;

export const intention = () => crypto.randomUUID();

// ---- Beginnings ---------------------------------------------------------------------------------------------------

export async function upload(file: Blob, name: string, title?: string): Promise<boolean> {
  const form = new FormData();
  if (title !== undefined) form.append("title", title);
  form.append("file", file, name);
  say(words.start.uploading(name));
  const made = await attempt(() => client.post<ChainView>("v1/chains", form, intention()));
  if (made === undefined) return false;
  showChain(made);
  go({ view: "studio", chainId: made.id });
  toast(words.start.uploaded(made.title || words.library.untitled));
  return true;
}

export async function beginWithWords(prompt: string, duration_s: number): Promise<boolean> {
  const body = { title: prompt.slice(0, 80), prompt, duration_s };
  const made = await attempt(() => client.post<ChainView>("v1/chains", body, intention()));
  if (made === undefined) return false;
  showChain(made);
  go({ view: "studio", chainId: made.id });
  return true;
}

export async function rename(id: string, title: string): Promise<void> {
  const view = await attempt(() => client.send<ChainView>("PATCH", at(id), { title }));
  if (view !== undefined) showChain(view);
}

export async function removeChain(id: string): Promise<void> {
  const done = await attempt(() => client.send("DELETE", at(id)).then(() => true));
  if (!done) return;
  summaries.value = (summaries.peek() ?? []).filter((each) => each.id !== id);
  if (chain.peek()?.id === id) go({ view: "studio", chainId: null });
  toast(words.library.removed);
}

export async function duplicate(id: string): Promise<void> {
  const view = await attempt(() => client.post<ChainView>(`${at(id)}/duplicate`, {}, intention()));
  if (view === undefined) return;
  showChain(view);
  go({ view: "studio", chainId: view.id });
  toast(words.library.copied);
}

// ---- Deciding -----------------------------------------------------------------------------------------------------

async function decide(open: Chain, node: Take, verb: string): Promise<Chain | undefined> {
  const view = await attempt(() => client.post<ChainView>(`${at(open.id, node.id)}/${verb}`));
  if (view !== undefined) showChain(view);
  return view;
}

/** Undoes what was just done, and nothing else that came after it. */
const undoOf = (made: Chain) => ({
  action: { label: words.chain.undo, run: () => void step("undo", words.chain.undone, made.undo?.at) },
});

export async function commit(open: Chain, node: Take): Promise<void> {
  const made = await decide(open, node, "commit");
  if (made) toast(words.take.committed(takeName(open, node)), undoOf(made));
}

export async function uncommit(open: Chain, node: Take): Promise<void> {
  const made = await decide(open, node, "uncommit");
  if (made) toast(words.take.uncommitted(takeName(open, node)), undoOf(made));
}

export async function discard(open: Chain, node: Take): Promise<void> {
  const made = await decide(open, node, "discard");
  if (!made) return;
  if (selectedId.peek() === node.id) selectedId.value = node.parent_id;
  toast(words.take.discarded(takeName(open, node)), undoOf(made));
}

export async function restore(open: Chain, node: Take): Promise<void> {
  const made = await decide(open, node, "restore");
  if (made) toast(words.take.restored(takeName(open, node)), undoOf(made));
}

async function step(verb: "undo" | "redo", done: string, decidedAt?: string): Promise<void> {
  const open = chain.peek();
  if (open === null) return;
  const view = await attempt(() =>
    client.post<ChainView>(`${at(open.id)}/${verb}`, decidedAt === undefined ? {} : { at: decidedAt }),
  );
  if (view === undefined) return;
  showChain(view);
  toast(done);
}

export const undo = () => step("undo", words.chain.undone);
export const redo = () => step("redo", words.chain.redone);

/** A take of its own that is the part of this one between two of its seconds. */
export async function crop(open: Chain, node: Take, from_s: number, to_s: number): Promise<void> {
  const body = { from_s, to_s };
  const made = await attempt(() => client.post<CropView>(`${at(open.id, node.id)}/crop`, body, intention()));
  if (made === undefined) return;
  const view = await attempt(() => client.get<ChainView>(at(open.id)));
  if (view === undefined) return;
  showChain(view);
  selectedId.value = made.node.id;
  toast(words.take.cropped(takeName(view, made.node)), undoOf(view));
}

export function compare(open: Chain, a: string, b: string, signal: AbortSignal): Promise<DiffView> {
  return client.get<DiffView>(`${at(open.id)}/diff`, { a, b }, { signal });
}

export type Label = { title?: string | null; stars?: number; note?: string | null };

export async function label(open: Chain, node: Take, change: Label): Promise<void> {
  await attempt(() => client.send<NodeView>("PATCH", at(open.id, node.id), change));
}

// ---- Making -------------------------------------------------------------------------------------------------------

export type BranchForm = {
  prompt: string;
  mode: string;
  takes: number;
  duration_s: number;
  prompt_duration_s: number;
  at_s?: number;
  align?: string;
  crossfade_s?: number;
  match_loudness?: boolean;
  seed?: number;
  model?: string;
  bpm?: number;
  key?: string;
  mood?: string;
  style?: string;
  cfg_coef?: number;
  temperature?: number;
  top_k?: number;
  top_p?: number;
};

export async function branch(open: Chain, parent: Take, form: BranchForm, key: string): Promise<BranchView> {
  const made = await client.post<BranchView>(`${at(open.id)}/nodes`, { parent_id: parent.id, ...form }, key);
  for (const node of made.crop ? [made.crop, ...made.nodes] : made.nodes) addNode(open.id, node);
  selectedId.value = made.nodes[0]?.id ?? null;
  toast(words.branch.asked(made.nodes.length));
  for (const notice of made.notices ?? []) toast(notice);
  return made;
}

export async function cancel(open: Chain, node: Take): Promise<void> {
  if (node.job_id === null) return;
  const done = await attempt(() => client.send<JobView>("DELETE", `v1/jobs/${node.job_id}`));
  if (done !== undefined) toast(words.take.cancelled(takeName(open, node)));
}

export async function cancelOthers(open: Chain, node: Take): Promise<void> {
  const view = await attempt(() => client.post<ChainView>(`${at(open.id, node.id)}/cancel_others`));
  if (view === undefined) return;
  showChain(view);
  toast(words.take.othersCancelled);
}

export async function analyse(open: Chain, node: Take): Promise<void> {
  await attempt(() => client.post<AcceptedView>(`${at(open.id, node.id)}/analysis`, {}, intention()));
}

// ---- Taking apart -------------------------------------------------------------------------------------------------

export async function makeStems(open: Chain, node: Take): Promise<void> {
  await attempt(() => client.post<AcceptedView>(`${at(open.id, node.id)}/stems`, {}, intention()));
}

/** Opens the mixer on a take's newest stems. */
export async function hearStems(open: Chain, node: Take): Promise<void> {
  const found = await attempt(() => client.get<StemsView>(`${at(open.id, node.id)}/stems`));
  if (found === undefined || found.job_id === null) return;
  const strips: StemStrip[] = found.stems.map((track) => ({
    name: track.name,
    path: track.url,
    channels: track.channels,
    db: 0,
    muted: false,
    solo: false,
  }));
  mixer.value = { nodeId: node.id, jobId: found.job_id, strips };
}

// ---- Files --------------------------------------------------------------------------------------------------------

/** Hands a file of the server to the browser's downloads: fetched, since a link cannot send a key. */
export async function download(path: string, fallback: string): Promise<string> {
  const answer = await client.request(path, { query: { redirect: "false" } });
  const name = fileName(answer) ?? fallback;
  const url = URL.createObjectURL(await answer.blob());
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
  return name;
}

function fileName(answer: Response): string | null {
  const header = answer.headers.get("Content-Disposition") ?? "";
  const extended = /filename\*=UTF-8''([^;]+)/i.exec(header)?.[1];
  if (extended !== undefined) return decodeURIComponent(extended);
  return /filename="([^"]+)"/i.exec(header)?.[1] ?? null;
}

/** What became of an export. */
export type Exported = {
  id: string;
  filename: string;
  loudness: Report | null;
  clipped: number;
  nonCommercial: boolean;
  /** Content credentials: in the file, in one of their own, or none. */
  credentials: "inside" | "beside" | null;
};

/** Of a file that was brought to a loudness, as it is heard: a lossy one decoded again. Null for silence. */
type Report = { lufs: number | null; true_peak_dbtp: number };

type ExportResult = {
  export_id: string;
  loudness?: { output_lufs: number | null; output_true_peak_dbtp: number; decoded: Report | null } | null;
  clipped_samples?: number;
  non_commercial?: boolean;
  content_credentials?: "inside" | "beside";
};

/** Makes an export and downloads it. Throws what the dialog says. */
export async function exportLine(
  open: Chain,
  options: Record<string, unknown>,
  key: string,
): Promise<Exported> {
  const job = await client.send<JobView>("POST", `${at(open.id)}/export`, options, key, {
    headers: { Prefer: "respond-async" },
  });
  const done = await ended(job.id);
  if (done.state !== "succeeded" || done.result === null)
    throw new Error(done.error?.detail ?? words.problems.unknown(500));
  const result = done.result as ExportResult;
  const loudness = result.loudness ?? null;
  return {
    id: result.export_id,
    filename: await exportFile(`v1/exports/${result.export_id}/file`),
    loudness: loudness && {
      lufs: loudness.decoded?.lufs ?? loudness.output_lufs,
      true_peak_dbtp: loudness.decoded?.true_peak_dbtp ?? loudness.output_true_peak_dbtp,
    },
    clipped: result.clipped_samples ?? 0,
    nonCommercial: result.non_commercial ?? false,
    credentials: result.content_credentials ?? null,
  };
}

/** The content credentials that stand beside an export. */
export const downloadCredentials = (id: string) => attempt(() => exportFile(`v1/exports/${id}/c2pa`));

async function exportFile(path: string): Promise<string> {
  try {
    return await download(path, "export");
  } catch (error) {
    if (error instanceof ApiError && (error.status === 404 || error.status === 410))
      throw new Error(words.export.expired);
    throw error;
  }
}

export function stopSound(): void {
  player.pause();
}
