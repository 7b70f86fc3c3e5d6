// The keys of the page. Each does what a visible control does.
import { isDiscarded, isReady } from "./model/tree.ts";
import { abx, answer, type Choice, hear } from "./state/abx.ts";
import { commit, crop, discard, redo, undo } from "./state/actions.ts";
import { region, setEdge } from "./state/region.ts";
import {
  audibleEnd,
  blind,
  choices,
  looping,
  mixer,
  player,
  position,
  seek,
  seekBy,
  setStrip,
  switchTo,
  toggleBlind,
  togglePlay,
} from "./state/sound.ts";
import { chain, dialog, route, selected } from "./state/store.ts";
import { cropOf } from "./views/Region.tsx";
import { fit, timelineEnd, zoomBy } from "./views/Timeline.tsx";

/** What may be pressed while an ABX test runs. */
const PLAYING = new Set([
  " ",
  "k",
  "j",
  "l",
  "Home",
  "End",
  "ArrowLeft",
  "ArrowRight",
  "r",
  "+",
  "=",
  "-",
  "0",
]);

/** M or S, until a number says of which stem. */
let pending: "muted" | "solo" | null = null;

export function installKeys(): void {
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.altKey || document.querySelector("dialog[open]")) return;
    const target = event.target as HTMLElement;
    if (target.closest("input:not([type=range]):not([type=radio]):not([type=checkbox]), textarea, select"))
      return;
    if (press(event, target)) event.preventDefault();
  });
}

/** Whether the key means something here. */
function press(event: KeyboardEvent, target: HTMLElement): boolean {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (key === "?") {
    dialog.value = "help";
    return true;
  }
  const open = chain.peek();
  if (route.peek().view !== "studio" || open === null) return false;
  if (event.ctrlKey || event.metaKey) {
    if (key !== "z") return false;
    void (event.shiftKey ? redo() : undo());
    return true;
  }
  const isControl = target.closest("button, a, summary, [role=slider]") !== null;
  const take = selected.peek();
  const waitsFor = pending;
  pending = null;
  if (abx.peek() !== null) {
    const choice = ({ "1": "a", "2": "b", "3": "x" } as Record<string, Choice>)[key];
    if (choice !== undefined) hear(choice);
    else if (key === "a" || key === "b") answer(key === "a");
    else if (!PLAYING.has(key)) return false;
    if (!PLAYING.has(key)) return true;
  }
  if (/^[1-8]$/.test(key)) {
    const index = Number(key) - 1;
    const strip = mixer.peek()?.strips[index];
    if (waitsFor !== null && strip) setStrip(strip.name, { [waitsFor]: !strip[waitsFor] });
    else if (choices.peek()[index]) switchTo(index);
    return true;
  }
  switch (key) {
    case " ":
      if (target.closest("button, a, summary")) return false;
      void togglePlay();
      return true;
    case "k":
      player.pause();
      return true;
    case "j":
      seekBy(-5);
      return true;
    case "l":
      seekBy(5);
      return true;
    case "Home":
      seek(0);
      return true;
    case "End":
      seek(audibleEnd.peek());
      return true;
    case "ArrowLeft":
    case "ArrowRight":
      if (target.matches("input")) return false;
      seekBy(key === "ArrowLeft" ? -1 : 1);
      return true;
    case "Enter":
      if (isControl || take === null || !isReady(take) || take.decision !== "candidate") return false;
      void commit(open, take);
      return true;
    case "x":
      if (take !== null && take.parent_id !== null && !isDiscarded(take)) void discard(open, take);
      return true;
    case "b":
      document.getElementById("branch-prompt")?.focus();
      return true;
    case "e":
      dialog.value = "export";
      return true;
    case "d":
      dialog.value = "compare";
      return true;
    case "i":
    case "o":
      setEdge(key === "i" ? "from" : "to", position.peek() / player.rate, timelineEnd());
      return true;
    case "c": {
      const part = blind.peek() === null ? cropOf(open, take) : null;
      if (part !== null && take !== null) void crop(open, take, part.from, part.to);
      return true;
    }
    case "Escape":
      if (region.peek() === null) return false;
      region.value = null;
      return true;
    case "r":
      looping.value = !looping.peek();
      return true;
    case "v":
      toggleBlind();
      return true;
    case "m":
      pending = mixer.peek() ? "muted" : null;
      return true;
    case "s":
      pending = mixer.peek() ? "solo" : null;
      return true;
    case "+":
    case "=":
      zoomBy(1.5);
      return true;
    case "-":
      zoomBy(1 / 1.5);
      return true;
    case "0":
      fit();
      return true;
    default:
      return false;
  }
}
