// What the page knows: signals, and the one event stream that keeps them true.
import { batch, computed, effect, signal } from "@preact/signals";
import { ApiError, Client } from "../api/client.ts";
import type { ChainListView, ChainView, JobListView, JobView, ModelListView } from "../api/schema.ts";
import { follow, type ServerEvent, type StreamState } from "../api/sse.ts";
import type { Chain, Config, Progress, Summary, Take } from "../model/chain.ts";
import { withNode } from "../model/chain.ts";
import { sentence } from "../model/problems.ts";
import { byId, isUnfinished } from "../model/tree.ts";
import { words } from "../words.ts";

export type Route = { view: "studio"; chainId: string | null } | { view: "pipeline"; jobId: string | null };
export type Toast = { id: number; text: string; bad: boolean; action?: { label: string; run: () => void } };

export const client = new Client(new URL(".", document.baseURI).href, globalThis.sessionStorage);

export const route = signal<Route>(readRoute());
export const summaries = signal<Summary[] | null>(null);
export const chain = signal<Chain | null>(null);
export const chainGone = signal(false);
export const jobs = signal<Map<string, JobView>>(new Map());
export const progress = signal<Map<string, Progress>>(new Map());
export const connection = signal<StreamState>("connecting");
export const config = signal<Config | null>(null);
export const models = signal<ModelListView | null>(null);
export const wantsKey = signal<"no" | "first" | "wrong">("no");
export const toasts = signal<Toast[]>([]);
export const spoken = signal("");
export const selectedId = signal<string | null>(null);
export const dialog = signal<"help" | "export" | "compare" | "abx" | null>(null);

export const chainId = computed(() => (route.value.view === "studio" ? route.value.chainId : null));
export const selected = computed<Take | null>(() => {
  const open = chain.value;
  return open === null ? null : (byId(open).get(selectedId.value ?? "") ?? null);
});
export const unfinishedJobs = computed(() =>
  [...jobs.value.values()].filter((job) => job.state === "queued" || job.state === "running"),
);

// ---- Where the page is --------------------------------------------------------------------------------------------

function readRoute(): Route {
  const [view, id] = location.hash.replace(/^#\/?/, "").split("/");
  if (view === "pipeline") return { view: "pipeline", jobId: id || null };
  return { view: "studio", chainId: view === "chain" && id ? id : null };
}

export function go(to: Route): void {
  location.hash =
    to.view === "pipeline"
      ? `#/pipeline${to.jobId ? `/${to.jobId}` : ""}`
      : to.chainId
        ? `#/chain/${to.chainId}`
        : "#/";
}

globalThis.addEventListener("hashchange", () => {
  batch(() => {
    route.value = readRoute();
    dialog.value = null;
  });
});

// ---- Words to the listener ----------------------------------------------------------------------------------------

let toastCount = 0;

/** For the live region. */
export function say(text: string): void {
  spoken.value = spoken.value === text ? `${text}\u00a0` : text;
}

export function toast(text: string, options: { bad?: boolean; action?: Toast["action"] } = {}): void {
  const made: Toast = { id: ++toastCount, text, bad: options.bad ?? false, action: options.action };
  toasts.value = [...toasts.value.filter((each) => each.text !== text).slice(-2), made];
  say(text);
  setTimeout(() => dismiss(made.id), options.action || made.bad ? 12_000 : 5000);
}

export function dismiss(id: number): void {
  toasts.value = toasts.value.filter((each) => each.id !== id);
}

export function complain(error: unknown): void {
  if (error instanceof DOMException && error.name === "AbortError") return;
  if (error instanceof ApiError && error.status === 401) return; // the key is asked for
  toast(sentence(error), { bad: true });
}

/** Runs work of a gesture; what goes wrong is said. */
export async function attempt<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    complain(error);
    return undefined;
  }
}

// ---- What the server says -----------------------------------------------------------------------------------------

let following: AbortController | null = null;

client.onUnauthorized = () => {
  wantsKey.value = client.hasKey ? "wrong" : "first";
};

export function useKey(key: string): void {
  client.useKey(key);
  wantsKey.value = "no";
  void begin();
}

/** Reads what does not change while the page is open, then follows the rest. */
export async function begin(): Promise<void> {
  await attempt(async () => {
    const [list, found, served] = await Promise.all([
      client.get<ChainListView>("v1/chains", { limit: 100 }),
      client.get<Config>("v1/config"),
      client.get<ModelListView>("v1/models"),
    ]);
    batch(() => {
      summaries.value = list.chains;
      config.value = found;
      models.value = served;
    });
  });
  if (wantsKey.value !== "no") return;
  listen();
  const id = chainId.peek();
  if (id !== null) void readChain(id);
}

/** One stream for all that changes, with the frames of the open chain in it. */
function listen(): void {
  following?.abort();
  const control = new AbortController();
  following = control;
  const id = chainId.peek();
  const open = async (lastEventId: string | null, signal: AbortSignal) => {
    const headers: Record<string, string> = lastEventId === null ? {} : { "Last-Event-ID": lastEventId };
    return client.request("v1/events", { query: { chain: id ?? undefined }, headers, signal });
  };
  follow(
    {
      open,
      onEvent: (event) => onEvent(event),
      onState: (state) => {
        connection.value = state;
      },
      isFinal: (error) =>
        error instanceof ApiError && (error.status === 401 || error.status === 404 || error.status === 410),
    },
    control.signal,
  ).catch((error) => {
    if (error instanceof ApiError && error.status === 404 && id !== null) {
      chain.value = null;
      chainGone.value = true;
      go({ view: "studio", chainId: null });
    } else complain(error);
  });
}

effect(() => {
  const id = chainId.value;
  if (chain.peek()?.id !== id) {
    batch(() => {
      chain.value = null;
      chainGone.value = false;
      selectedId.value = null;
      progress.value = new Map();
    });
  }
  if (following === null) return;
  listen();
  if (id !== null) void readChain(id);
});

/** The chain at once; the stream, which has more to say, follows. */
async function readChain(id: string): Promise<void> {
  try {
    showChain(await client.get<ChainView>(`v1/chains/${id}`));
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 404) complain(error); // the stream says what is gone
  }
}

type TenantSnapshot = { chains: Summary[]; jobs: JobView[] };

const inbox: ServerEvent[] = [];
const GATHERED_MS = 30;

/** Events that come together are shown together: two hundred takes of one request are one change of the page. */
function onEvent(event: ServerEvent): void {
  if (inbox.push(event) === 1)
    setTimeout(() => {
      batch(() => {
        for (const each of inbox.splice(0)) show(each);
      });
    }, GATHERED_MS);
}

function show({ event, data }: ServerEvent): void {
  const body: unknown = JSON.parse(data);
  switch (event) {
    case "snapshot":
      if (isTenants(body)) {
        summaries.value = body.chains;
        jobs.value = new Map(body.jobs.map((job) => [job.id, job]));
      } else showChain(body as ChainView);
      break;
    case "open":
      showChain(body as ChainView);
      break;
    case "node":
      showNode(body as Take);
      break;
    case "chain":
      showHeader(body as Summary & Partial<Chain>);
      break;
    case "chain_deleted":
      forget((body as { id: string }).id);
      break;
    case "job":
      showJob(body as JobView);
      break;
    case "progress":
      showProgress(body as Progress & { node_id: string | null; job_id: string });
      break;
  }
}

const isTenants = (body: unknown): body is TenantSnapshot =>
  typeof body === "object" && body !== null && "chains" in body;

/** Puts in a newer view of the open chain. */
export function showChain(view: ChainView): void {
  const known = summaries.value;
  if (known !== null) summaries.value = [view, ...known.filter((each) => each.id !== view.id)].sort(newest);
  if (view.id !== chainId.peek()) return;
  const before = chain.peek();
  if (before !== null && before.version > view.version) return;
  chain.value = view;
  if (selectedId.peek() === null || !view.nodes.some((node) => node.id === selectedId.peek()))
    selectedId.value = view.spine.at(-1) ?? view.root_id;
}

/** A node that was just made, before the stream tells of it. */
export function addNode(chainId: string, node: Take): void {
  const open = chain.peek();
  if (open !== null && open.id === chainId && !byId(open).has(node.id)) chain.value = withNode(open, node);
}

function showNode(node: Take): void {
  const open = chain.peek();
  if (open === null || (node.chain_id !== undefined && node.chain_id !== open.id)) return;
  const before = byId(open).get(node.id) as Take | undefined;
  chain.value = withNode(open, node);
  if (before !== undefined && isUnfinished(before) && node.status === "ready") {
    say(words.take.ready(takeName(chain.value, node)));
  }
  if (before !== undefined && isUnfinished(before) && node.status === "failed" && node.error)
    toast(words.take.failed(node.error.detail), { bad: true });
}

function showHeader(header: Summary & Partial<Chain>): void {
  if (header.deleted) {
    forget(header.id);
    return;
  }
  const known = summaries.peek() ?? [];
  const before = known.find((each) => each.id === header.id);
  summaries.value = [{ ...before, ...header }, ...known.filter((each) => each.id !== header.id)].sort(newest);
  const open = chain.peek();
  if (open !== null && open.id === header.id && header.version >= open.version)
    chain.value = { ...open, ...header, nodes: open.nodes } as Chain;
}

function forget(id: string): void {
  summaries.value = (summaries.peek() ?? []).filter((each) => each.id !== id);
  if (chainId.peek() === id) {
    chain.value = null;
    toast(words.chain.gone);
    go({ view: "studio", chainId: null });
  }
}

const newest = (one: Summary, other: Summary) =>
  (other.created_at ?? "").localeCompare(one.created_at ?? "") || other.id.localeCompare(one.id);

const jobListeners = new Set<(job: JobView) => void>();

function showJob(job: JobView): void {
  const known = new Map(jobs.peek());
  known.set(job.id, job);
  jobs.value = known;
  for (const listener of jobListeners) listener(job);
}

const foretold: (Progress & { node_id: string | null; job_id: string })[] = [];
const PROGRESS_MS = 120;

function showProgress(told: Progress & { node_id: string | null; job_id: string }): void {
  foretold.push(told);
  if (foretold.length > 1) return;
  setTimeout(() => {
    const known = new Map(progress.peek());
    for (const each of foretold.splice(0)) {
      known.set(each.job_id, each);
      if (each.node_id) known.set(each.node_id, each);
    }
    progress.value = known;
  }, PROGRESS_MS);
}

/** The job once it has ended: by the event stream, and by asking now and then. */
export async function ended(jobId: string): Promise<JobView> {
  for (;;) {
    const job = await new Promise<JobView | null>((resolve) => {
      const done = (found: JobView | null) => {
        clearTimeout(timer);
        jobListeners.delete(hear);
        resolve(found);
      };
      const hear = (found: JobView) => {
        if (found.id === jobId && found.finished_at !== null) done(found);
      };
      const timer = setTimeout(() => done(null), 2000);
      jobListeners.add(hear);
    });
    const found = job ?? (await client.get<JobView>(`v1/jobs/${jobId}`));
    showJob(found);
    if (found.state !== "queued" && found.state !== "running") return found;
  }
}

export async function readJobs(): Promise<void> {
  await attempt(async () => {
    const list = await client.get<JobListView>("v1/jobs", { limit: 100 });
    jobs.value = new Map([...list.jobs.map((job): [string, JobView] => [job.id, job])]);
  });
}

/** What a take is called: its own name, or its number among the takes of its request. */
export function takeName(open: Chain, node: Take): string {
  if (node.title) return node.title;
  const source = node.cropped_from && (byId(open).get(node.cropped_from.node_id) as Take | undefined);
  if (source && node.cropped_from) return words.take.cropOf(takeName(open, source), node.cropped_from.to_s);
  if (node.parent_id === null) return words.take.root;
  const beside = (open.nodes as Take[]).filter(
    (each) => each.parent_id === node.parent_id && !each.cropped_from,
  );
  beside.sort((one, other) => one.created_at.localeCompare(other.created_at) || one.take - other.take);
  return words.take.numbered(beside.findIndex((each) => each.id === node.id) + 1);
}
