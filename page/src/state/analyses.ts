// The whole analyses of takes: beats for the grid, energy for the strip.
import { signal } from "@preact/signals";
import type { AnalysisView } from "../api/schema.ts";
import type { Take } from "../model/chain.ts";
import { client } from "./store.ts";

export type Rhythm = { beats: number[]; downbeats: number[]; bpm: number | null; confidence: number };
export type Heard = { rhythm: Rhythm; energy: number[]; energyHopS: number; styleName: string | null };

const SURE = 0.5;
export const analyses = signal<Map<string, Heard>>(new Map());
const asked = new Set<string>();

/** What was heard in a take, once it is here. */
export function heardIn(chainId: string, node: Take): Heard | null {
  const summary = node.analysis;
  if (summary?.status !== "ready") return null;
  const found = analyses.value.get(node.id);
  const key = `${node.id}:${summary.job_id}`;
  if (!asked.has(key)) {
    asked.add(key);
    void fetchAnalysis(chainId, node.id, key);
  }
  return found ?? null;
}

/** The beats of a take where the analysis is sure of them. */
export function sureRhythm(chainId: string, node: Take): Rhythm | null {
  if ((node.analysis?.bpm_confidence ?? 0) < SURE) return null;
  const rhythm = heardIn(chainId, node)?.rhythm;
  return rhythm !== undefined && rhythm.beats.length > 0 ? rhythm : null;
}

type Document = {
  rhythm?: { bpm: number | null; confidence: number; beats_s: number[]; downbeats_s: number[] };
  energy?: { hop_s: number; values: number[] };
  energy_curve?: { hop_s: number; values: number[] };
  style?: { name: string | null };
};

async function fetchAnalysis(chainId: string, nodeId: string, key: string): Promise<void> {
  try {
    const view = await client.get<AnalysisView>(`v1/chains/${chainId}/nodes/${nodeId}/analysis`);
    const document = (view.analysis ?? {}) as Document;
    const energy = document.energy ?? document.energy_curve;
    const heard: Heard = {
      rhythm: {
        beats: document.rhythm?.beats_s ?? [],
        downbeats: document.rhythm?.downbeats_s ?? [],
        bpm: document.rhythm?.bpm ?? null,
        confidence: document.rhythm?.confidence ?? 0,
      },
      energy: energy?.values ?? [],
      energyHopS: energy?.hop_s ?? 1,
      styleName: document.style?.name ?? null,
    };
    analyses.value = new Map(analyses.peek()).set(nodeId, heard);
  } catch {
    setTimeout(() => asked.delete(key), 5000);
  }
}
