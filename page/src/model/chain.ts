// The API's views as the page uses them.
import type { ChainView, NodeView } from "../api/schema.ts";

export type Progress = { progress: number; queue_position?: number | null; eta_s?: number | null };
export type Edit = { action: string; node_id?: string | null; at?: string };

/** In a stream of several chains a node says whose it is. */
export type Take = NodeView & { chain_id?: string };
export type Chain = Omit<ChainView, "nodes"> & { nodes: Take[]; undo?: Edit | null; redo?: Edit | null };

/** What a list needs of a chain. */
export type Summary = {
  id: string;
  title: string;
  version: number;
  updated_at: string;
  created_at?: string;
  deleted?: boolean;
};

/** A row of `export.format_options`. */
export type FormatOptions = {
  name: string;
  title: string;
  kind?: string;
  bit_depths?: number[];
  default_bit_depth?: number | null;
  bitrates?: string[];
  default_bitrate?: string | null;
  sample_rates_hz?: number[] | null;
  cover?: boolean;
};

/** The parts of `GET /v1/config` that the page reads. */
export type Config = {
  models: string[];
  default_model: string | null;
  generation: { max_takes?: number; max_duration_s?: number; max_crossfade_s?: number };
  uploads: { max_bytes: number; max_duration_s: number; formats: string[] };
  separators: string[];
  analyser: string | null;
  export: {
    formats: string[];
    format_options?: FormatOptions[];
    sample_rates_hz?: number[];
    loudness_lufs?: number[];
    true_peak_dbtp?: number[];
    max_tail_s?: number;
    cover?: { max_bytes: number; formats: string[] };
    video?: { pictures: string[]; sizes: string[]; default_fps?: number; max_fps?: number };
  };
  process: { max_bytes?: number; max_duration_s?: number; kept_s?: number };
};

/** The chain with a node put in, or in place of an older view of it. */
export function withNode(chain: Chain, node: Take): Chain {
  const known = chain.nodes.some((each) => each.id === node.id);
  return {
    ...chain,
    nodes: known ? chain.nodes.map((each) => (each.id === node.id ? node : each)) : [...chain.nodes, node],
  };
}
