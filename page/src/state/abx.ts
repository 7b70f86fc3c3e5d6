// An ABX test of two takes: they sound in the line, as loud as each other, and nothing on the page says which is X.
import { batch, effect, signal } from "@preact/signals";
import { type Abx, answered, begun, isOver } from "../model/abx.ts";
import { words } from "../words.ts";
import { blind, heardId, matching } from "./sound.ts";
import { dialog, say } from "./store.ts";

export type Choice = "a" | "b" | "x";

/** The test that runs, or whose result is shown. */
export const abx = signal<Abx | null>(null);
export const hearing = signal<Choice>("a");

export function beginAbx(a: string, b: string, trials: number): void {
  batch(() => {
    abx.value = begun(a, b, trials);
    blind.value = [a, b];
    matching.value = true;
    dialog.value = null;
    hear("a");
  });
}

export function hear(choice: Choice): void {
  const test = abx.peek();
  if (test === null || isOver(test)) return;
  const isA = choice === "x" ? test.xIsA : choice === "a";
  batch(() => {
    hearing.value = choice;
    heardId.value = isA ? test.a : test.b;
  });
  say(words.abx.now(choice.toUpperCase()));
}

export function answer(saysA: boolean): void {
  const test = abx.peek();
  if (test === null || isOver(test)) return;
  const next = answered(test, saysA);
  batch(() => {
    abx.value = next;
    hearing.value = "a";
    heardId.value = next.a;
    if (isOver(next)) dialog.value = "abx";
  });
  if (!isOver(next)) say(words.abx.trial(next.answers.length + 1, next.trials));
}

/** Leaves the test, or its result. */
export function endAbx(): void {
  batch(() => {
    abx.value = null;
    blind.value = null;
  });
}

effect(() => {
  if (blind.value === null && abx.peek() !== null) abx.value = null;
});
