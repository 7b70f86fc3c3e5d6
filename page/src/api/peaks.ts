// Peaks as the server keeps them: audiowaveform .dat version 2, 8 bits, and the same of sound that still arrives.

/** The least and the greatest sample of all channels, one pair a block of `samplesPerBlock`; -128..127. */
export class Peaks {
  readonly samplesPerBlock: number;
  length: number;
  #pairs: Int8Array;
  #coarser: Peaks | null = null;

  constructor(samplesPerBlock: number, pairs: Int8Array, length: number) {
    this.samplesPerBlock = samplesPerBlock;
    this.#pairs = pairs;
    this.length = length;
  }

  static parse(buffer: ArrayBuffer): Peaks {
    const view = new DataView(buffer);
    if (buffer.byteLength < 24 || view.getInt32(0, true) !== 2 || (view.getUint32(4, true) & 1) === 0)
      throw new Error("not a peaks file of version 2 with 8 bits");
    const samplesPerBlock = view.getInt32(12, true);
    const channels = view.getInt32(20, true);
    const values = new Int8Array(buffer, 24);
    const length = Math.min(view.getUint32(16, true), Math.floor(values.length / 2 / channels));
    const pairs = new Int8Array(2 * length);
    for (let block = 0; block < length; block++) {
      let low = 127;
      let high = -128;
      for (let channel = 0; channel < channels; channel++) {
        const at = 2 * (block * channels + channel);
        low = Math.min(low, values[at] as number);
        high = Math.max(high, values[at + 1] as number);
      }
      pairs[2 * block] = low;
      pairs[2 * block + 1] = high;
    }
    return new Peaks(samplesPerBlock, pairs, length);
  }

  static empty(samplesPerBlock = 256): Peaks {
    return new Peaks(samplesPerBlock, new Int8Array(2048), 0);
  }

  /** Adds whole blocks of new sound; returns the samples left over, which come first in the next call. */
  append(samples: Float32Array): Float32Array {
    const blocks = Math.floor(samples.length / this.samplesPerBlock);
    if (2 * (this.length + blocks) > this.#pairs.length) {
      const grown = new Int8Array(Math.max(2 * this.#pairs.length, 2 * (this.length + blocks)));
      grown.set(this.#pairs);
      this.#pairs = grown;
    }
    for (let block = 0; block < blocks; block++) {
      let low = 1;
      let high = -1;
      for (let at = block * this.samplesPerBlock; at < (block + 1) * this.samplesPerBlock; at++) {
        const sample = samples[at] as number;
        if (sample < low) low = sample;
        if (sample > high) high = sample;
      }
      const at = 2 * (this.length + block);
      this.#pairs[at] = Math.max(-128, Math.floor(low * 127));
      this.#pairs[at + 1] = Math.min(127, Math.ceil(high * 127));
    }
    this.length += blocks;
    this.#coarser = null;
    return samples.slice(blocks * this.samplesPerBlock);
  }

  /** The extremes of the blocks from `from` up to `to`, at least one; [0, 0] past the end. */
  range(from: number, to: number): [number, number] {
    const first = Math.max(0, Math.floor(from));
    const last = Math.min(this.length, Math.max(first + 1, Math.ceil(to)));
    if (first >= last) return [0, 0];
    if (last - first > 32) return this.#coarse().range(first / 16, last / 16);
    let low = 127;
    let high = -128;
    for (let block = first; block < last; block++) {
      low = Math.min(low, this.#pairs[2 * block] as number);
      high = Math.max(high, this.#pairs[2 * block + 1] as number);
    }
    return [low, high];
  }

  #coarse(): Peaks {
    if (this.#coarser === null) {
      const length = Math.ceil(this.length / 16);
      const pairs = new Int8Array(2 * length);
      for (let block = 0; block < length; block++) {
        const [low, high] = this.range(block * 16, Math.min(this.length, block * 16 + 16));
        pairs[2 * block] = low;
        pairs[2 * block + 1] = high;
      }
      this.#coarser = new Peaks(this.samplesPerBlock * 16, pairs, length);
    }
    return this.#coarser;
  }
}
