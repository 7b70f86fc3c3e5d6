// Dark, light, or as the system is.
import { effect, signal } from "@preact/signals";

export type Theme = "auto" | "dark" | "light";
const ITEM = "segue.theme";

function read(): Theme {
  try {
    const kept = localStorage.getItem(ITEM);
    return kept === "dark" || kept === "light" ? kept : "auto";
  } catch {
    return "auto";
  }
}

export const theme = signal<Theme>(read());

effect(() => {
  document.documentElement.dataset.theme = theme.value;
  try {
    localStorage.setItem(ITEM, theme.value);
  } catch {
    // a browser that keeps nothing
  }
});
