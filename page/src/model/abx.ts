// The ABX test: X is one of two sounds, a coin says which; how often it is known says whether they can be told apart.

export type Abx = {
  /** Ids of takes. */
  a: string;
  b: string;
  trials: number;
  /** Of the trial at hand. */
  xIsA: boolean;
  /** Whether each answer so far was right. */
  answers: boolean[];
};

export const TRIALS = [8, 12, 16, 24];

const coin = () => (crypto.getRandomValues(new Uint8Array(1))[0] as number) % 2 === 0;

export function begun(a: string, b: string, trials: number, toss = coin): Abx {
  return { a, b, trials, xIsA: toss(), answers: [] };
}

export function answered(test: Abx, saysA: boolean, toss = coin): Abx {
  if (isOver(test)) return test;
  return { ...test, answers: [...test.answers, saysA === test.xIsA], xIsA: toss() };
}

export const isOver = (test: Abx) => test.answers.length >= test.trials;

export const rightOf = (test: Abx) => test.answers.filter(Boolean).length;

/** How likely guessing has `right` or more of `trials` right: the tail of the binomial distribution, p = 1/2. */
export function chance(right: number, trials: number): number {
  let ways = 1; // trials over k
  let tail = 0;
  for (let k = trials; k >= right; k--) {
    tail += ways;
    ways = (ways * k) / (trials - k + 1);
  }
  return tail / 2 ** trials;
}
