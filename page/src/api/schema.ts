// Made from openapi.json by `make page-types`; not edited by hand.
export type AcceptedView = {
  job_id: string;
  job_ids: string[];
  status: string;
};
export type AdherenceView = {
  score: number | null;
  bpm_asked: number | null;
  bpm_heard: number | null;
  bpm_score: number | null;
  key_asked: string | null;
  key_heard: string | null;
  key_score: number | null;
};
export type AnalyserView = {
  name: string;
  engine: string;
  licence: string;
  description: string;
  status: string;
  replicas: number;
  detail?: string;
  done_bytes?: number;
  total_bytes?: number;
};
export type AnalysisOfNodeView = {
  job_id: string;
  status: string;
  bpm?: number | null;
  bpm_confidence?: number | null;
  meter?: number | null;
  key?: string | null;
  key_confidence?: number | null;
  camelot?: string | null;
  integrated_lufs?: number | null;
  valence?: number | null;
  arousal?: number | null;
  emotion?: string | null;
  style_id?: string | null;
  prompt?: string | null;
  composed_prompt?: string | null;
  adherence?: AdherenceView | null;
  rank?: number | null;
  error?: ErrorView | null;
};
export type AnalysisRunView = {
  job_id: string;
  status: string;
  progress: number;
  created_at: string;
  params: Record<string, unknown>;
  provenance: Record<string, unknown> | null;
  error?: ErrorView | null;
};
export type AnalysisView = {
  chain_id: string;
  node_id: string;
  status: string;
  analysis: Record<string, unknown> | null;
  runs: AnalysisRunView[];
};
export type AudioFormat = "wav" | "flac" | "mp3";
export type AudioView = {
  duration_s: number;
  samples: number;
  sample_rate_hz: number;
  channels: number;
  rms_dbfs: number;
  peak_dbfs: number;
  encoded_gain_db: number;
  sha256: string;
  url: string;
  original_format?: string | null;
  original_name?: string | null;
};
export type BranchView = {
  nodes: NodeView[];
  job_ids: string[];
  job_id: string;
  notices?: string[];
};
export type ChainListView = {
  chains: ChainView[];
  cursor: string | null;
  damaged?: DamagedView[];
};
export type ChainView = {
  id: string;
  title: string;
  version: number;
  created_at: string;
  updated_at: string;
  root_id: string;
  sample_rate_hz: number | null;
  channels: number | null;
  nodes: NodeView[];
  spine: string[];
  job_id?: string | null;
};
export type DamagedView = {
  id: string;
  state?: string;
  created_at: string;
  reason: string;
};
export type DerivedView = {
  job_id: string;
  kind: string;
  status: string;
  progress: number;
  params: Record<string, unknown>;
  created_at: string;
  tracks: TrackView[];
  provenance: Record<string, unknown> | null;
  error?: ErrorView | null;
};
export type ErrorView = {
  code: string;
  detail: string;
};
export type GenerationMode = "text" | "continue" | "melody" | "compose";
export type JobListView = {
  jobs: JobView[];
  cursor: string | null;
  damaged?: DamagedView[];
};
export type JobView = {
  id: string;
  job_id: string;
  kind: string;
  state: string;
  attempt: number;
  progress: number;
  cancel_requested: boolean;
  chain_id: string | null;
  node_id: string | null;
  stages: StageView[];
  result: Record<string, unknown> | null;
  error: ErrorView | null;
  created_at: string;
  updated_at: string;
  started_at: string | null;
  finished_at: string | null;
};
export type ManifestView = {
  job_id: string;
  status: string;
  progress: number;
  attempt: number;
  source: SourceView;
  parameters: Record<string, unknown>;
  stages: StageRecordView[];
  outputs: string[];
  error: ErrorView | null;
  created_at: string;
  started_at: string | null;
  finished_at: string | null;
};
export type ModelListView = {
  models: ModelView[];
  separators: SeparatorView[];
  analyser: AnalyserView | null;
};
export type ModelView = {
  name: string;
  engine: string;
  licence: string;
  description: string;
  status: string;
  replicas: number;
  detail?: string;
  done_bytes?: number;
  total_bytes?: number;
  sample_rate_hz: number;
  channels: number;
  modes: string[];
  default: boolean;
};
export type NewChain = {
  prompt?: string;
  duration_s?: number;
  prompt_duration_s?: number;
  cfg_coef?: number;
  temperature?: number;
  top_k?: number;
  top_p?: number;
  seed?: number | null;
  model?: string | null;
  bpm?: number | null;
  key?: string | null;
  mood?: string | null;
  style?: string | null;
  title?: string;
};
export type NewExport = {
  format: AudioFormat;
  bit_depth?: number | null;
  sample_rate_hz?: number | null;
};
export type NewNodes = {
  prompt?: string;
  duration_s?: number;
  prompt_duration_s?: number;
  cfg_coef?: number;
  temperature?: number;
  top_k?: number;
  top_p?: number;
  seed?: number | null;
  model?: string | null;
  bpm?: number | null;
  key?: string | null;
  mood?: string | null;
  style?: string | null;
  parent_id: string;
  mode?: GenerationMode;
  takes?: number;
};
export type NewStems = {
  model?: string | null;
  stems?: string[] | null;
  two_stems?: string | null;
  shifts?: number;
  overlap?: number;
  segment_s?: number | null;
  seed?: number;
};
export type NodeView = {
  id: string;
  parent_id: string | null;
  origin: string;
  status: string;
  decision: string;
  duration_s: number;
  prompt: string;
  params: Record<string, unknown>;
  seed: number | null;
  take: number;
  job_id: string | null;
  progress: number;
  created_at: string;
  audio?: AudioView | null;
  error?: ErrorView | null;
  stems?: StemsOfNodeView[];
  analysis?: AnalysisOfNodeView | null;
};
export type OutputsView = {
  job_id: string;
  status: string;
  outputs: TrackView[];
  archive_url: string;
};
export type Problem = {
  type: string;
  title: string;
  status: number;
  detail: string;
  request_id: string;
  errors?: ({
  field: string;
  message: string;
})[];
  limit_bytes?: number;
};
export type ProcessAcceptedView = {
  job_id: string;
  status: string;
  status_url: string;
  outputs_url: string;
};
export type SeparatorView = {
  name: string;
  engine: string;
  licence: string;
  description: string;
  status: string;
  replicas: number;
  detail?: string;
  done_bytes?: number;
  total_bytes?: number;
  sample_rate_hz: number;
  channels: number;
  sources: string[];
  networks: number;
  default: boolean;
};
export type SourceView = {
  filename: string;
  duration_s: number;
  samples: number;
  sample_rate_hz: number;
  channels: number;
  rms_dbfs: number;
  peak_dbfs: number;
  sha256: string;
};
export type SpineNodeView = {
  id: string;
  parent_id: string | null;
  origin: string;
  status: string;
  decision: string;
  duration_s: number;
  prompt: string;
  params: Record<string, unknown>;
  seed: number | null;
  take: number;
  job_id: string | null;
  progress: number;
  created_at: string;
  audio?: AudioView | null;
  error?: ErrorView | null;
  stems?: StemsOfNodeView[];
  analysis?: AnalysisOfNodeView | null;
  offset_s: number;
};
export type SpineView = {
  chain_id: string;
  version: number;
  duration_s: number;
  nodes: SpineNodeView[];
};
export type StageRecordView = {
  name: string;
  state: string;
  seconds: number;
  parameters: Record<string, unknown>;
  outputs: TrackView[];
  error?: ErrorView | null;
};
export type StageView = {
  name: string;
  seconds: number;
  state: string;
};
export type StemsOfNodeView = {
  job_id: string;
  status: string;
  progress: number;
  model: string;
  stems: string[];
  error?: ErrorView | null;
};
export type StemsView = {
  chain_id: string;
  node_id: string;
  job_id: string | null;
  status: string;
  stems: TrackView[];
  separations: DerivedView[];
};
export type TrackView = {
  name: string;
  format: string;
  duration_s: number;
  samples: number;
  sample_rate_hz: number;
  channels: number;
  rms_dbfs: number;
  peak_dbfs: number;
  encoded_gain_db: number;
  sha256: string;
  size_bytes: number;
  facts: Record<string, unknown>;
  url: string;
};
