// What is heard: the player's lanes follow from the open chain, the take that is listened to, and the mixer.
import { batch, computed, effect, signal } from "@preact/signals";
import { Peaks } from "../api/peaks.ts";
import { type LaneSpec, Player } from "../audio/player.ts";
import { FloatSource, followTake, MadeAnew, type RangedSource, WavSource } from "../audio/sources.ts";
import type { Chain, Take } from "../model/chain.ts";
import { matchedGains, shuffled } from "../model/levels.ts";
import {
  byId,
  isReady,
  isUnfinished,
  rateOf,
  samplesOf,
  startOf,
  takesBeside,
  tipThrough,
} from "../model/tree.ts";
import { words } from "../words.ts";
import { region } from "./region.ts";
import { chain, client, complain, say, selected, selectedId, takeName } from "./store.ts";

const MAX_TAKES = 8;

export const player = new Player();
export const position = signal(0);
export const playing = signal(false);
export const waiting = signal(false);
export const heardId = signal<string | null>(null);
export const looping = signal(false);
export const matching = signal(false);
/** The order in which takes are offered while nobody may know which is which. */
export const blind = signal<string[] | null>(null);
export const volume = signal(1);
/** Gains of stems in dB, mutes and solos, while the stems of one take are heard. */
export type StemStrip = {
  name: string;
  path: string;
  channels: number;
  db: number;
  muted: boolean;
  solo: boolean;
};
export const mixer = signal<{ nodeId: string; jobId: string; strips: StemStrip[] } | null>(null);

player.onState = (state) =>
  batch(() => {
    position.value = state.position;
    playing.value = state.playing;
    waiting.value = state.waiting;
  });
player.onError = complain;

export const heard = computed<Take | null>(() => {
  const open = chain.value;
  return open === null ? null : ((byId(open).get(heardId.value ?? "") as Take | undefined) ?? null);
});

/** The takes that keys 1 to 8 switch between: those beside the chosen one; in a blind comparison, those compared. */
export const choices = computed<Take[]>(() => {
  const open = chain.value;
  const about = blind.value === null ? (selected.value ?? heard.value) : heard.value;
  if (open === null || about === null) return [];
  const takes = takesBeside(open, about) as Take[];
  const order = blind.value;
  if (order === null) return takes.slice(0, MAX_TAKES);
  return order.map((id) => takes.find((take) => take.id === id)).filter((take) => take !== undefined);
});

// ---- Takes that are being made ------------------------------------------------------------------------------------

export type Live = {
  jobId: string;
  nodeId: string;
  channels: number;
  /** What has come of the window that is not whole yet: the rest can be asked for. */
  recent: [number, Float32Array[]][];
  peaks: Peaks;
};

/** The take whose sound is followed while it is made: at most one. */
export const live = signal<Live | null>(null);
export const liveLength = signal(0);
let liveAbort: AbortController | null = null;

function followLive(take: Take): void {
  if (take.job_id === null || live.peek()?.jobId === take.job_id) return;
  liveAbort?.abort();
  const control = new AbortController();
  liveAbort = control;
  const followed: Live = {
    jobId: take.job_id,
    nodeId: take.id,
    channels: 1,
    recent: [],
    peaks: Peaks.empty(),
  };
  let rest = new Float32Array(0);
  live.value = followed;
  liveLength.value = 0;
  followTake(
    client,
    take.job_id,
    (channels) => {
      followed.channels = channels;
    },
    (start, channels) => {
      const first = channels[0] as Float32Array;
      const whole = start + first.length - ((start + first.length) % player.windowSamples);
      followed.recent.push([start, channels]);
      followed.recent = followed.recent.filter(([at, [one]]) => at + (one as Float32Array).length > whole);
      const joined = new Float32Array(rest.length + first.length);
      joined.set(rest);
      joined.set(first, rest.length);
      rest = followed.peaks.append(joined) as Float32Array<ArrayBuffer>;
      const open = chain.peek();
      if (open !== null && heardLive.peek() === followed.jobId)
        pushLive(followed, startOf(open, take.id), start, channels);
      liveLength.value = start + first.length;
    },
    control.signal,
  ).catch((error: unknown) => {
    if (control.signal.aborted || live.peek() !== followed) return;
    live.value = null; // the chain's own events tell what has become of the take
    const anew = error instanceof MadeAnew;
    if (heardLive.peek() === followed.jobId) {
      heardLive.value = null;
      player.pause();
      complain(anew ? new Error(words.take.anew) : error);
    }
    if (anew) followLive(take);
  });
}

function pushLive(followed: Live, begin: number, start: number, channels: Float32Array[]): void {
  const copies = channels.map((one) => one.slice());
  player.push(`live:${followed.jobId}`, begin + start, copies);
}

function leaveLive(): void {
  liveAbort?.abort();
  live.value = null;
}

effect(() => {
  player.maxFetches = live.value === null ? 2 : 1;
});

/** The job whose live sound is a lane now. It stays one after the take is ready, until something else is heard. */
const heardLive = signal<string | null>(null);

effect(() => {
  const take = selected.value;
  if (take !== null && isUnfinished(take) && heardLive.peek() === null) followLive(take);
});

effect(() => {
  const followed = live.value;
  const open = chain.value;
  if (followed === null || open === null || heardLive.value === followed.jobId) return;
  const node = byId(open).get(followed.nodeId);
  if (node === undefined || !isUnfinished(node)) leaveLive();
});

// ---- Lanes --------------------------------------------------------------------------------------------------------

const sources = new Map<string, RangedSource>();

function kept(path: string, make: () => RangedSource): RangedSource {
  let source = sources.get(path);
  if (source === undefined) {
    source = make();
    sources.set(path, source);
  }
  return source;
}

function lineLane(open: Chain, tip: Take, gain: number, trim?: LaneSpec["trim"]): LaneSpec {
  const path = `v1/chains/${open.id}/nodes/${tip.id}/line/audio?format=f32`;
  return {
    id: `line:${tip.id}`,
    start: 0,
    end: startOf(open, tip.id) + samplesOf(open, tip),
    gain,
    trim,
    source: kept(path, () => new FloatSource(client, path, open.channels ?? 2)),
  };
}

function liveLanes(open: Chain, take: Take): LaneSpec[] {
  const start = startOf(open, take.id);
  const lanes: LaneSpec[] = [];
  const parent = byId(open).get(take.parent_id ?? "");
  if (parent) lanes.push(lineLane(open, parent, 1));
  const made = isReady(take);
  const path = made
    ? `v1/chains/${open.id}/nodes/${take.id}/audio?format=f32`
    : `v1/jobs/${take.job_id}/audio?format=f32`;
  const channels = open.channels ?? live.value?.channels ?? 2;
  lanes.push({
    id: `live:${take.job_id}`,
    start,
    end: start + samplesOf(open, take),
    gain: 1,
    available: made ? undefined : liveLength.value,
    source: kept(path, () => new FloatSource(client, path, channels)),
  });
  return lanes;
}

function stemLanes(open: Chain): LaneSpec[] {
  const desk = mixer.value;
  const node = desk === null ? undefined : byId(open).get(desk.nodeId);
  if (desk === null || node === undefined) return [];
  const start = startOf(open, node.id);
  const soloed = desk.strips.some((strip) => strip.solo);
  const lanes: LaneSpec[] = desk.strips.map((strip) => ({
    id: `stem:${desk.jobId}:${strip.name}`,
    start,
    end: start + samplesOf(open, node),
    gain: strip.muted || (soloed && !strip.solo) || strip.db <= -60 ? 0 : 10 ** (strip.db / 20),
    source: kept(strip.path, () => new WavSource(client, strip.path, strip.channels)),
  }));
  const parent = byId(open).get(node.parent_id ?? "");
  if (parent) lanes.push(lineLane(open, parent, 1));
  return lanes;
}

const lanes = computed<LaneSpec[]>(() => {
  const open = chain.value;
  if (open === null) return [];
  if (mixer.value !== null) return stemLanes(open);
  const about = heard.value;
  if (about === null) return [];
  if (heardLive.value !== null && heardLive.value === about.job_id) return liveLanes(open, about);
  if (!isReady(about)) return [];
  const gains = matching.value ? matchedGains(choices.value) : null;
  const from = startOf(open, about.id);
  const specs: LaneSpec[] = [];
  for (const take of new Set([about, ...choices.value])) {
    const tip = take.id === about.id ? tipThrough(open, take.id) : take;
    if (tip === undefined || !isReady(tip)) continue;
    if (specs.some((spec) => spec.id === `line:${tip.id}`)) continue;
    specs.push(
      lineLane(open, tip as Take, take.id === about.id ? 1 : 0, { from, gain: gains?.get(take.id) ?? 1 }),
    );
  }
  return specs;
});

/** How long the sound is that can be played now, in samples. */
export const audibleEnd = computed(() => Math.max(0, ...lanes.value.map((lane) => lane.end)));

let chainOfPlayer: string | null = null;
effect(() => {
  const open = chain.value;
  const id = open === null ? null : `${open.id}@${open.sample_rate_hz ?? ""}`;
  if (id === chainOfPlayer) return;
  chainOfPlayer = id;
  leaveLive();
  sources.clear();
  batch(() => {
    heardId.value = null;
    heardLive.value = null;
    mixer.value = null;
    blind.value = null;
    looping.value = false;
    region.value = null;
  });
  void player.reset(open === null ? 0 : rateOf(open));
});

effect(() => {
  const open = chain.value;
  if (open === null || heardId.value !== null) return;
  const tip = tipThrough(open, open.root_id);
  if (tip !== undefined && isReady(tip)) heardId.value = tip.id;
});

effect(() => {
  const specs = lanes.value;
  player.setLanes(specs);
});

effect(() => {
  const open = chain.value;
  const about = heard.value;
  if (!looping.value || open === null || about === null) return player.loop(null);
  const from = startOf(open, about.id);
  const take = { from, to: from + samplesOf(open, about) };
  player.loop(chosenLoop(rateOf(open), audibleEnd.value) ?? take);
});

/** The region, as far as it can be heard. */
function chosenLoop(rate: number, end: number): { from: number; to: number } | null {
  if (region.value === null) return null;
  const from = Math.round(region.value.from * rate);
  const to = Math.min(end, Math.round(region.value.to * rate));
  return from < to ? { from, to } : null;
}

effect(() => {
  player.volume = volume.value;
});

// ---- What a listener does -----------------------------------------------------------------------------------------

export async function togglePlay(): Promise<void> {
  if (playing.peek()) return player.pause();
  if (lanes.peek().length === 0) {
    const take = selected.peek();
    if (take !== null) await listenTo(take);
    return;
  }
  await start(true);
}

async function start(fade: boolean): Promise<void> {
  try {
    await player.play(fade);
  } catch (error) {
    console.error(error);
    complain(new Error(words.transport.noContext));
  }
}

export function seek(samples: number): void {
  player.seek(Math.min(samples, audibleEnd.peek()));
}

export function seekBy(seconds: number): void {
  seek(position.peek() + seconds * player.rate);
}

/** Plays a take from its first sample, in its line; one that is being made as far as it is there. */
export async function listenTo(take: Take): Promise<void> {
  const open = chain.peek();
  if (open === null) return;
  if (take.id !== selectedId.peek()) selectedId.value = take.id;
  mixer.value = null;
  if (isUnfinished(take)) {
    if (take.status === "pending" && take.job_id === null) return;
    followLive(take);
    batch(() => {
      heardId.value = take.id;
      heardLive.value = take.job_id;
    });
    player.seek(startOf(open, take.id));
    await start(false);
    const followed = live.peek();
    if (followed !== null && followed.jobId === take.job_id)
      for (const [at, channels] of followed.recent) pushLive(followed, startOf(open, take.id), at, channels);
    return;
  }
  if (!isReady(take)) return;
  batch(() => {
    heardLive.value = null;
    heardId.value = take.id;
  });
  player.seek(startOf(open, take.id));
  await start(false);
}

/** Plays the line through a take from a second of it on. */
export async function hearAt(take: Take, seconds: number): Promise<void> {
  batch(() => {
    heardLive.value = null;
    heardId.value = take.id;
    mixer.value = null;
  });
  seek(seconds * player.rate);
  await start(true);
}

/** Another take at the same sample, whether it plays or not. */
export function switchTo(index: number): void {
  const open = chain.peek();
  const take = choices.peek()[index];
  if (open === null || take === undefined) return;
  if (isUnfinished(take)) {
    void listenTo(take);
    return;
  }
  batch(() => {
    heardLive.value = null;
    heardId.value = take.id;
    mixer.value = null;
    if (blind.peek() === null) selectedId.value = take.id;
  });
  say(
    blind.peek() === null
      ? words.transport.nowHearing(takeName(open, take))
      : words.transport.hidden(index + 1),
  );
}

export function toggleBlind(): void {
  const open = chain.peek();
  if (blind.peek() !== null) {
    blind.value = null;
    const about = heard.peek();
    if (open !== null && about !== null) {
      selectedId.value = about.id;
      say(words.transport.revealed(takeName(open, about)));
    }
    return;
  }
  const takes = choices.peek().filter(isReady);
  if (takes.length < 2) return;
  const order = shuffled(takes.map((take) => take.id));
  batch(() => {
    blind.value = order;
    heardId.value = order[0] as string;
    matching.value = true;
  });
}

export function setStrip(name: string, change: Partial<StemStrip>): void {
  const desk = mixer.peek();
  if (desk === null) return;
  mixer.value = {
    ...desk,
    strips: desk.strips.map((strip) => (strip.name === name ? { ...strip, ...change } : strip)),
  };
}
