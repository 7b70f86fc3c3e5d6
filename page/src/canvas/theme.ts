// The colours of the canvas are those of the style sheet.
export type Colours = Record<
  | "clip"
  | "clipEdge"
  | "line"
  | "lineEdge"
  | "wave"
  | "waveLine"
  | "waveDim"
  | "live"
  | "grid"
  | "bar"
  | "text"
  | "link"
  | "chosen"
  | "heard"
  | "seam",
  string
>;

const NAMES: (keyof Colours)[] = [
  "clip",
  "clipEdge",
  "line",
  "lineEdge",
  "wave",
  "waveLine",
  "waveDim",
  "live",
  "grid",
  "bar",
  "text",
  "link",
  "chosen",
  "heard",
  "seam",
];

export function coloursOf(element: Element): Colours {
  const style = getComputedStyle(element);
  const read = (name: string) =>
    style.getPropertyValue(`--c-${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`).trim();
  return Object.fromEntries(NAMES.map((name) => [name, read(name)])) as Colours;
}

/** Sizes a canvas to its box on this screen; the context is scaled to CSS pixels. */
export function prepare(
  canvas: HTMLCanvasElement,
  width: number,
  height: number,
): CanvasRenderingContext2D | null {
  const scale = globalThis.devicePixelRatio || 1;
  const [deviceWidth, deviceHeight] = [Math.round(width * scale), Math.round(height * scale)];
  if (canvas.width !== deviceWidth) canvas.width = deviceWidth;
  if (canvas.height !== deviceHeight) canvas.height = deviceHeight;
  const context = canvas.getContext("2d");
  context?.setTransform(scale, 0, 0, scale, 0, 0);
  context?.clearRect(0, 0, width, height);
  return context;
}
