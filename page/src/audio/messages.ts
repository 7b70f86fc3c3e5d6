// What the page says to the worklet, and what it reports.
export type ToWorklet =
  | { type: "lane"; id: string; start: number; end: number; gain: number }
  | { type: "remove"; id: string }
  | { type: "end"; id: string; end: number }
  | { type: "chunk"; id: string; start: number; channels: Float32Array[] }
  | { type: "keep"; id: string; from: number; to: number }
  | { type: "gain"; id: string; gain: number; fadeSamples?: number }
  | { type: "trim"; id: string; from: number; gain: number }
  | { type: "play"; fade: boolean }
  | { type: "pause" }
  | { type: "seek"; position: number }
  | { type: "cushion"; samples: number }
  | { type: "loop"; loop: { from: number; to: number } | null };

export type FromWorklet = {
  position: number;
  playing: boolean;
  waiting: boolean;
  ended: boolean;
  seek: number;
};
