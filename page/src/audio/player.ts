// One AudioContext, one worklet: lanes are declared, their samples fetched in windows around the playhead.
import type { FromWorklet, ToWorklet } from "./messages.ts";
import type { RangedSource } from "./sources.ts";
import { Windows } from "./windows.ts";

declare const WORKLET_FILE: string;

export type LaneSpec = {
  id: string;
  /** In samples of the timeline. */
  start: number;
  end: number;
  gain: number;
  source: RangedSource;
  /** How many of its samples exist, of a take that is being made; absent: all. */
  available?: number;
  /** From this sample on the lane is `gain` times as loud. */
  trim?: { from: number; gain: number };
};

export type PlayerState = { position: number; playing: boolean; waiting: boolean };

type Loaded = { spec: LaneSpec; windows: Windows; retryAt: number };

const WINDOW_S = 3;
/** Of what is heard, and of what may be switched to: how much is fetched ahead, how much is kept on either side. */
const HEARD = { aheadS: 18, keptS: 30 };
const STANDBY = { aheadS: 6, keptS: 9 };
const RETRY_MS = 1500;

export class Player {
  onState: (state: PlayerState) => void = () => {};
  onEnded: () => void = () => {};
  onError: (error: unknown) => void = () => {};
  rate = 0;
  position = 0;
  playing = false;
  waiting = false;
  /** Requests for samples at a time. */
  maxFetches = 2;
  /** Listens to what goes out, for a level meter. */
  analyser: AnalyserNode | null = null;
  #context: AudioContext | null = null;
  #node: AudioWorkletNode | null = null;
  #starting: Promise<void> | null = null;
  #lanes = new Map<string, Loaded>();
  #loop: { from: number; to: number } | null = null;
  #fetches = 0;
  #seeks = 0;
  #abort = new AbortController();
  #timer: ReturnType<typeof setInterval> | undefined;
  #volume = 1;
  #out: GainNode | null = null;

  /** Another chain: nothing of the last one is heard any more. */
  async reset(rate: number): Promise<void> {
    this.#abort.abort();
    this.#abort = new AbortController();
    this.#lanes.clear();
    this.#loop = null;
    this.position = 0;
    this.playing = false;
    this.waiting = false;
    const context = this.#context;
    if (rate !== this.rate || context !== null) {
      this.#node?.disconnect();
      this.#node = null;
      this.#context = null;
      this.#starting = null;
      this.analyser = null;
      clearInterval(this.#timer);
      this.rate = rate;
      this.#report();
      await context?.close();
    }
  }

  set volume(value: number) {
    this.#volume = value;
    if (this.#out && this.#context) this.#out.gain.setTargetAtTime(value, this.#context.currentTime, 0.01);
  }

  get volume(): number {
    return this.#volume;
  }

  /** The lanes there are from now on; those that stay keep their samples, and their gains move within 10 ms. */
  setLanes(specs: LaneSpec[]): void {
    const wanted = new Set(specs.map((spec) => spec.id));
    for (const id of [...this.#lanes.keys()])
      if (!wanted.has(id)) {
        this.#lanes.delete(id);
        this.#send({ type: "remove", id });
      }
    for (const spec of specs) {
      const known = this.#lanes.get(spec.id);
      if (known === undefined) {
        this.#lanes.set(spec.id, { spec, windows: new Windows(this.windowSamples), retryAt: 0 });
        this.#declare(spec);
        continue;
      }
      if (known.spec.gain !== spec.gain) this.#send({ type: "gain", id: spec.id, gain: spec.gain });
      if (known.spec.end !== spec.end) this.#send({ type: "end", id: spec.id, end: spec.end });
      if (known.spec.trim?.gain !== spec.trim?.gain)
        this.#send({ type: "trim", id: spec.id, from: spec.trim?.from ?? 0, gain: spec.trim?.gain ?? 1 });
      known.spec = spec;
    }
    this.#fill();
  }

  get windowSamples(): number {
    return Math.round(WINDOW_S * this.rate);
  }

  /** Samples of a lane that came unasked, from `start` of the timeline on: kept where they are soon heard. */
  push(id: string, start: number, channels: Float32Array[]): void {
    const lane = this.#lanes.get(id);
    const count = channels[0]?.length ?? 0;
    if (lane === undefined || this.#node === null) return;
    if (start + count < this.position || start > this.position + HEARD.keptS * this.rate) return;
    lane.windows.push(start - lane.spec.start, count, lane.spec.end - lane.spec.start);
    this.#chunk(id, start, channels);
  }

  #chunk(id: string, start: number, channels: Float32Array[]): void {
    this.#send(
      { type: "chunk", id, start, channels },
      channels.map((channel) => channel.buffer),
    );
  }

  /** To be called from a gesture. `fade` false: from the very first sample at full level. */
  async play(fade = true): Promise<void> {
    await this.#start();
    await this.#context?.resume();
    if (this.position >= this.#end()) this.seek(this.#loop?.from ?? 0);
    this.playing = true;
    this.#send({ type: "play", fade });
    this.#fill();
    this.#report();
  }

  pause(): void {
    this.playing = false;
    this.waiting = false;
    this.#send({ type: "pause" });
    this.#report();
  }

  seek(position: number): void {
    this.position = Math.max(0, Math.round(position));
    this.#seeks++;
    this.#send({ type: "seek", position: this.position });
    this.#fill();
    this.#report();
  }

  loop(loop: { from: number; to: number } | null): void {
    this.#loop = loop;
    this.#send({ type: "loop", loop });
  }

  /** Begins after a wait only when this much lies ready. */
  cushion(seconds: number): void {
    this.#send({ type: "cushion", samples: Math.max(128, Math.round(seconds * this.rate)) });
  }

  #end(): number {
    return Math.max(
      0,
      ...[...this.#lanes.values()].filter(({ spec }) => spec.gain !== 0).map(({ spec }) => spec.end),
    );
  }

  async #start(): Promise<void> {
    this.#starting ??= this.#open();
    await this.#starting;
  }

  async #open(): Promise<void> {
    const context = new AudioContext({ sampleRate: this.rate, latencyHint: "interactive" });
    this.#context = context;
    await context.audioWorklet.addModule(new URL(WORKLET_FILE, import.meta.url).href);
    const node = new AudioWorkletNode(context, "segue-lanes", {
      numberOfInputs: 0,
      numberOfOutputs: 1,
      outputChannelCount: [2],
    });
    this.#node = node;
    this.#seeks = 1;
    node.port.onmessage = ({ data }: MessageEvent<FromWorklet>) => this.#hear(data);
    this.#out = new GainNode(context, { gain: this.#volume });
    this.analyser = new AnalyserNode(context, { fftSize: 1024 });
    node.connect(this.#out).connect(context.destination);
    this.#out.connect(this.analyser);
    for (const { spec } of this.#lanes.values()) this.#declare(spec);
    this.#send({ type: "seek", position: this.position });
    this.#send({ type: "loop", loop: this.#loop });
    this.#timer = setInterval(() => this.#fill(), 300);
  }

  #declare(spec: LaneSpec): void {
    this.#send({ type: "lane", id: spec.id, start: spec.start, end: spec.end, gain: spec.gain });
    if (spec.trim) this.#send({ type: "trim", id: spec.id, ...spec.trim });
  }

  #send(message: ToWorklet, transfer: ArrayBufferLike[] = []): void {
    this.#node?.port.postMessage(message, transfer as Transferable[]);
  }

  #hear(state: FromWorklet): void {
    if (state.seek !== this.#seeks) return; // from before the last seek
    this.position = state.position;
    this.waiting = state.waiting && this.playing;
    if (state.ended && this.playing) {
      this.playing = false;
      this.#report();
      this.onEnded();
      return;
    }
    this.#report();
  }

  #report(): void {
    this.onState({ position: this.position, playing: this.playing, waiting: this.waiting });
  }

  /** Asks for the next windows: first of what is heard, then of what may be switched to. */
  #fill(): void {
    if (this.#node === null) return;
    const lanes = [...this.#lanes.values()];
    for (const lane of lanes) this.#forget(lane);
    const wanted: { lane: Loaded; window: number; urgency: number }[] = [];
    for (const lane of lanes) {
      const { start, end, gain, available } = lane.spec;
      if (performance.now() < lane.retryAt) continue;
      const from = Math.max(this.position, start) - start;
      const to = Math.min(this.position + rangeOf(lane).aheadS * this.rate, end) - start;
      const missing = lane.windows.missing(from, to, end - start, available ?? end - start);
      for (const window of missing)
        wanted.push({ lane, window, urgency: window - from / this.windowSamples + (gain !== 0 ? 0 : 1.5) });
    }
    wanted.sort((one, other) => one.urgency - other.urgency);
    for (const { lane, window } of wanted) {
      if (this.#fetches >= this.maxFetches) break;
      void this.#load(lane, window);
    }
  }

  async #load(lane: Loaded, window: number): Promise<void> {
    const { id, start, end, source } = lane.spec;
    const [from, count] = lane.windows.span(window, end - start);
    const signal = this.#abort.signal;
    lane.windows.begin(window);
    this.#fetches++;
    let arrived = false;
    try {
      const channels = await source.read(from, count, signal);
      arrived = this.#lanes.get(id) === lane;
      if (arrived) this.#chunk(id, start + from, channels);
    } catch (error) {
      if (!signal.aborted) {
        lane.retryAt = performance.now() + RETRY_MS;
        this.onError(error);
      }
    } finally {
      lane.windows.end(window, arrived);
      this.#fetches--;
      if (!signal.aborted) this.#fill();
    }
  }

  /** Lets go of what is far from the playhead. */
  #forget(lane: Loaded): void {
    const { id, start } = lane.spec;
    const kept = rangeOf(lane).keptS * this.rate;
    const [from, to] = [this.position - kept, this.position + kept];
    if (lane.windows.forget(from - start, to - start)) this.#send({ type: "keep", id, from, to });
  }
}

const rangeOf = ({ spec }: Loaded) => (spec.gain !== 0 ? HEARD : STANDBY);
