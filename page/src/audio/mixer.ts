// Lanes of sound on one timeline, mixed sample by sample. No browser here: the worklet runs it, tests do too.

type Chunk = { start: number; channels: Float32Array[]; length: number };

/** What a lane is: samples from `start` up to `end`, of which chunks arrive in any order. */
class Lane {
  chunks: Chunk[] = [];
  gain: number;
  target: number;
  step = 0;
  end: number;
  start: number;
  trimFrom = 0;
  trim = 1;
  #last: Chunk | null = null;

  constructor(start: number, end: number, gain: number) {
    this.start = start;
    this.end = end;
    this.gain = gain;
    this.target = gain;
  }

  get audible(): boolean {
    return this.gain !== 0 || this.target !== 0;
  }

  add(chunk: Chunk): void {
    let at = this.chunks.length;
    while (at > 0 && (this.chunks[at - 1] as Chunk).start > chunk.start) at--;
    if (this.chunks[at - 1]?.start === chunk.start) return;
    this.chunks.splice(at, 0, chunk);
  }

  keep(from: number, to: number): void {
    this.chunks = this.chunks.filter((chunk) => chunk.start + chunk.length > from && chunk.start < to);
    this.#last = null;
  }

  /** The chunk that holds the sample at `position`. */
  at(position: number): Chunk | null {
    const last = this.#last;
    if (last !== null && position >= last.start && position < last.start + last.length) return last;
    for (const chunk of this.chunks)
      if (position >= chunk.start && position < chunk.start + chunk.length) {
        this.#last = chunk;
        return chunk;
      }
    return null;
  }

  /** Whether all samples from `position` on for `count` are here, but for those outside the lane. */
  has(position: number, count: number): boolean {
    let from = Math.max(position, this.start);
    const to = Math.min(position + count, this.end);
    while (from < to) {
      const chunk = this.at(from);
      if (chunk === null) return false;
      from = chunk.start + chunk.length;
    }
    return true;
  }
}

export type MixerState = { position: number; playing: boolean; waiting: boolean; ended: boolean };

const BLOCK = 128;

export class Mixer {
  position = 0;
  playing = false;
  /** It plays, but a lane that is heard lacks samples. */
  waiting = false;
  ended = false;
  loop: { from: number; to: number } | null = null;
  /** How many samples have to lie ready before a wait ends. */
  cushion = BLOCK;
  readonly #lanes = new Map<string, Lane>();
  #master = 0;
  #masterStep = 0;
  readonly #fade: number;

  constructor(rate: number) {
    this.#fade = Math.round(rate * 0.01);
  }

  lane(id: string, start: number, end: number, gain: number): void {
    this.#lanes.set(id, new Lane(start, end, gain));
  }

  remove(id: string): void {
    this.#lanes.delete(id);
  }

  end(id: string, end: number): void {
    const lane = this.#lanes.get(id);
    if (lane) lane.end = end;
  }

  chunk(id: string, start: number, channels: Float32Array[]): void {
    this.#lanes.get(id)?.add({ start, channels, length: channels[0]?.length ?? 0 });
  }

  keep(id: string, from: number, to: number): void {
    this.#lanes.get(id)?.keep(from, to);
  }

  /** Moves a lane's gain within `fadeSamples`; at once while nothing plays. */
  gain(id: string, gain: number, fadeSamples = this.#fade): void {
    const lane = this.#lanes.get(id);
    if (!lane) return;
    lane.target = gain;
    if (this.#master === 0 || fadeSamples === 0) lane.gain = gain;
    lane.step = (gain - lane.gain) / Math.max(1, fadeSamples);
  }

  /** From the sample `from` on the lane is multiplied by `gain`: for takes of one loudness. */
  trim(id: string, from: number, gain: number): void {
    const lane = this.#lanes.get(id);
    if (lane) [lane.trimFrom, lane.trim] = [from, gain];
  }

  /** `fade` false: the first sample is whole, as when a take is heard from its start. */
  play(fade: boolean): void {
    this.playing = true;
    this.ended = false;
    if (!fade) [this.#master, this.#masterStep] = [1, 0];
    else this.#masterStep = 1 / this.#fade;
  }

  pause(): void {
    this.playing = false;
    this.waiting = false;
    this.#masterStep = -1 / this.#fade;
  }

  seek(position: number): void {
    this.position = Math.max(0, Math.round(position));
    this.ended = false;
  }

  state(): MixerState {
    return { position: this.position, playing: this.playing, waiting: this.waiting, ended: this.ended };
  }

  /** Fills `out` (its channels, of one length) with what comes next. */
  process(out: Float32Array[]): void {
    for (const channel of out) channel.fill(0);
    const frames = out[0]?.length ?? 0;
    if (!this.playing && this.#master === 0) return;
    const heard = [...this.#lanes.values()].filter((lane) => lane.audible);
    const end = Math.max(0, ...heard.map((lane) => lane.end));
    const stop = this.loop === null ? end : Math.min(end, this.loop.to);
    if (this.playing) {
      const needed = Math.min(this.waiting ? this.cushion : frames, Math.max(0, stop - this.position));
      this.waiting = !heard.every((lane) => lane.has(this.position, needed));
      if (this.waiting) return;
    }
    let done = 0;
    while (done < frames) {
      if (this.loop !== null && this.position >= this.loop.to && this.loop.to > this.loop.from)
        this.position = this.loop.from;
      const until = this.loop === null ? end : Math.min(end, this.loop.to);
      const count = Math.min(frames - done, until - this.position);
      if (count <= 0) break;
      for (const lane of heard) this.#add(lane, out, done, count);
      this.position += count;
      done += count;
    }
    this.#fadeMaster(out);
    if (this.playing && this.position >= end && this.loop === null) {
      this.playing = false;
      this.ended = true;
      this.#master = 0;
      this.#masterStep = 0;
    }
  }

  #add(lane: Lane, out: Float32Array[], offset: number, count: number): void {
    for (let index = 0; index < count; index++) {
      if (lane.step !== 0) {
        lane.gain += lane.step;
        if ((lane.step > 0 && lane.gain >= lane.target) || (lane.step < 0 && lane.gain <= lane.target))
          [lane.gain, lane.step] = [lane.target, 0];
      }
      const position = this.position + index;
      const chunk = lane.at(position);
      if (chunk === null || position < lane.start || position >= lane.end) continue;
      const gain = position >= lane.trimFrom ? lane.gain * lane.trim : lane.gain;
      const at = position - chunk.start;
      for (let channel = 0; channel < out.length; channel++) {
        const source = chunk.channels[channel] ?? (chunk.channels[0] as Float32Array);
        (out[channel] as Float32Array)[offset + index] =
          ((out[channel] as Float32Array)[offset + index] as number) + (source[at] as number) * gain;
      }
    }
  }

  #fadeMaster(out: Float32Array[]): void {
    if (this.#master === 1 && this.#masterStep >= 0) return;
    const frames = out[0]?.length ?? 0;
    for (let index = 0; index < frames; index++) {
      this.#master = Math.min(1, Math.max(0, this.#master + this.#masterStep));
      for (const channel of out) channel[index] = (channel[index] as number) * this.#master;
    }
    if (this.#master === 0 || this.#master === 1) this.#masterStep = 0;
  }
}
