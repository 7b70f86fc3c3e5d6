// Which parts of a lane are here: windows of equal size, counted from the lane's start. No browser here.

export class Windows {
  readonly #size: number;
  readonly #here = new Set<number>();
  readonly #loading = new Set<number>();
  #pushed = { from: 0, to: 0 };

  /** `size`: samples of a window. */
  constructor(size: number) {
    this.#size = size;
  }

  /** How many windows are here or on their way. */
  get count(): number {
    return this.#here.size + this.#loading.size;
  }

  /** The windows that sound from `from` up to `to`, are neither here nor on their way, and can be had whole: of the
   * lane's `length` samples, `available` exist. */
  missing(from: number, to: number, length: number, available: number): number[] {
    const found: number[] = [];
    for (let window = Math.floor(Math.max(0, from) / this.#size); window * this.#size < to; window++) {
      const [start, count] = this.span(window, length);
      if (count <= 0 || start + count > available) break;
      if (!this.#here.has(window) && !this.#loading.has(window)) found.push(window);
    }
    return found;
  }

  /** The first sample of a window, and how many it has. */
  span(window: number, length: number): [start: number, count: number] {
    const start = window * this.#size;
    return [start, Math.min(this.#size, length - start)];
  }

  begin(window: number): void {
    this.#loading.add(window);
  }

  end(window: number, arrived: boolean): void {
    this.#loading.delete(window);
    if (arrived) this.#here.add(window);
  }

  /** Samples that came unasked, piece by piece: a window that they have filled is here. */
  push(start: number, count: number, length: number): void {
    const before = this.#pushed.to;
    if (start !== before) this.#pushed = { from: start, to: start };
    this.#pushed.to += count;
    const { from, to } = this.#pushed;
    for (let window = Math.ceil(from / this.#size); window * this.#size < to; window++) {
      const [first, samples] = this.span(window, length);
      if (first + samples > to) break;
      if (start !== before || first + samples > before) this.#here.add(window);
    }
  }

  /** Lets go of the windows outside of `from` up to `to`; returns whether there were any. */
  forget(from: number, to: number): boolean {
    let gone = false;
    for (const window of this.#here) {
      const start = window * this.#size;
      if (start + this.#size > from && start < to) continue;
      this.#here.delete(window);
      gone = true;
    }
    return gone;
  }
}
