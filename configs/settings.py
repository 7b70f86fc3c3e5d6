"""Every number and name that an operator may change, in one frozen tree.

Settings are data; what does work (stores, engines, clients) is made from them in `serve_app.app` and
travels separately. An unknown field is an error, never ignored.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StorageSettings(Frozen):
    """Where chains, jobs and audio live: `file:PATH` (a local folder), `s3://BUCKET` or `s3://BUCKET/PREFIX`,
    or `memory:` (gone with the process, for tests in one process).

    The rest is for S3. Access keys are no settings: they come from the environment, the files of a profile
    or the role of the machine, as for every client of AWS.
    """

    url: str = "file:data"
    endpoint_url: str | None = Field(
        None, pattern=r"^https?://[^/?#@\s]+/?$", description="the server, if it is not AWS's"
    )
    region: str | None = Field(None, description="None: the environment's or the profile's")
    profile: str | None = Field(None, description="a section of ~/.aws/config and ~/.aws/credentials")
    ca_bundle: str | None = Field(
        None, description="file of the authorities that the server's certificate may be signed by"
    )
    addressing_style: Literal["auto", "path", "virtual"] = Field(
        "auto", description="auto: path with an endpoint_url, else the bucket as part of the host name"
    )
    connect_timeout_s: float = Field(3.0, gt=0)
    read_timeout_s: float = Field(8.0, gt=0, description="how long any wait for the server's next bytes is")
    max_attempts: int = Field(4, ge=1, description="how often a request is made that got no answer")
    presign: bool = Field(
        False, description="send downloads to the bucket itself; clients must reach it by the same name"
    )
    presign_expiry_s: int = Field(3600, ge=1, le=7 * 24 * 3600)
    unsafe_single_writer: bool = Field(
        False, description="go on with a server that ignores conditions, at the risk of losing changes"
    )


class ModelSettings(Frozen):
    """Which models are served, and how they run. Each served model is a deployment of its own; the first is
    the default."""

    served: tuple[str, ...] = Field(("tiny",), min_length=1)
    engine: Literal["segue", "audiocraft"] = Field(
        "segue", description="segue: takes are batched and streamed; audiocraft: the library's own generate"
    )
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["auto", "float32", "float16", "bfloat16", "int8"] = Field(
        "auto", description="auto: float32 on a CPU, bfloat16 on a GPU; int8 is for CPUs"
    )
    cache_dir: str = "~/.cache/segue/models"
    threads: int | None = Field(None, ge=1, description="torch threads per replica; None: torch decides")
    takes: int = Field(8, ge=1, description="takes that one replica works on at once")
    waiting: int = Field(16, ge=0, description="takes that may wait in a replica for room")
    kv_bytes: int | None = Field(
        None, ge=1, description="memory of a replica for its takes' keys and values; None: what is there"
    )
    extend_stride_s: float = Field(
        18.0, gt=0, description="beyond the model's window, each further window starts this much later"
    )

    @property
    def default(self) -> str:
        return self.served[0]


class SeparationSettings(Frozen):
    """Which separation models are served, and how they run. Each is a deployment of its own; the first is the
    default. None at all turns stems off."""

    served: tuple[str, ...] = ("tiny",)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        "auto", description="auto: float32 on a CPU and on a GPU; the others are faster and less exact"
    )
    threads: int | None = Field(None, ge=1, description="torch threads per replica; None: torch decides")
    batch: int = Field(4, ge=1, description="segments that share a forward pass on a GPU")
    in_flight: int = Field(2, ge=1, description="segments of one track that are separated at once")
    max_shifts: int = Field(5, ge=0, le=20, description="the most shifted passes that a request may ask for")

    @property
    def default(self) -> str | None:
        return self.served[0] if self.served else None


class ProcessSettings(Frozen):
    """The processing pipeline (`POST /process`): what it takes, does by default, and how long it keeps things."""

    max_bytes: int = 500_000_000
    max_duration_s: float = 3600.0
    decode_timeout_s: float = 600.0
    concurrent_uploads: int = Field(2, ge=1, description="tracks decoded at once per ingress replica")
    target_db: float = Field(
        -14.0, ge=-70, le=0, description="of normalised tracks, unless a request says it"
    )
    normalize: Literal["off", "peak", "lufs"] = "lufs"
    ceiling_dbtp: float = Field(-1.0, ge=-20, le=0, description="no normalised track's true peak is above it")
    outputs_s: float = Field(
        24 * 3600.0, gt=0, description="how long outputs can be downloaded after the end"
    )


class AnalysisSettings(Frozen):
    """Which analyser is served, and how it runs."""

    served: str | None = Field(
        "signal", description="an analyser's name, or the folder of a CLAP model; None: no analysis at all"
    )
    melody: Literal["crepe-tiny", "crepe-full", "none"] = "crepe-tiny"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int | None = Field(None, ge=1, description="torch threads per replica; None: torch decides")
    automatic: bool = Field(True, description="every upload is analysed, without its melody")
    max_duration_s: float = Field(600.0, gt=0, description="of a clip; longer ones by their beginning")


class ToolSettings(Frozen):
    """The stateless tools at the root: `/analyze`, `/generate`, `/compose`, `/continue`."""

    max_bytes: int = 30_000_000
    max_input_s: float = Field(
        30.0, gt=0, description="of `/analyze` and `/compose`; longer ones are refused"
    )
    deadline_s: float = Field(60.0, gt=0, description="then the work is cancelled: 504")
    concurrent: int = Field(8, ge=1, description="requests worked on at once per ingress replica; else 429")
    folder: str | None = Field(
        None, description="where `/continue` reads and writes files, and nowhere else; None: it is off"
    )
    logs: bool = Field(False, description="keep what the tools are given and give, in `logs_folder`")
    logs_folder: str = "data/tool-logs"


class GenerationLimits(Frozen):
    min_duration_s: float = 0.5
    max_duration_s: float = 300.0
    max_prompt_duration_s: float = 30.0
    max_prompt_chars: int = 1000
    max_takes: int = 8


class UploadLimits(Frozen):
    max_bytes: int = 100 * 1024 * 1024
    max_duration_s: float = 600.0
    min_duration_s: float = 0.1
    max_channels: int = 2
    min_rate_hz: int = 4_000
    max_rate_hz: int = 192_000
    decode_timeout_s: float = 60.0
    decode_memory_bytes: int = 2 * 1024**3
    concurrent: int = Field(4, ge=1, description="uploads decoded at once per ingress replica")


class JobSettings(Frozen):
    lease_s: float = Field(12.0, gt=0)
    takeover_grace_s: float = Field(5.0, ge=0)
    max_attempts: int = Field(3, ge=1)
    sweep_s: float = Field(5.0, gt=0)
    watch_s: float = Field(1.0, gt=0, description="how often a runner looks whether its job was cancelled")
    concurrent: int = Field(16, ge=1, description="jobs that one runner works on at once")
    deadline_s: float = Field(3600.0, gt=0, description="the longest that one attempt may take")
    retry_delay_s: float = Field(2.0, ge=0, description="pause before an attempt after a broken engine")
    max_active_per_tenant: int = Field(64, ge=1)
    idempotency_ttl_s: float = 24 * 3600.0


class EventSettings(Frozen):
    poll_s: float = Field(2.0, gt=0, description="how often documents are polled, hub or no hub")
    heartbeat_s: float = Field(15.0, gt=0)
    max_stream_s: float = Field(1800.0, gt=0, description="a stream's life; the client then reconnects")


class ExportSettings(Frozen):
    wait_s: float = Field(
        30.0, ge=0, description="how long the POST waits for the file before it answers 202"
    )
    ffmpeg_path: str | None = None
    ffmpeg_timeout_s: float = 300.0


class HttpSettings(Frozen):
    allowed_hosts: tuple[str, ...] = ("*",)
    cors_origins: tuple[str, ...] = ()


class Tier(StrEnum):
    """What a key may do: `free` all but source separation, `paid` everything."""

    FREE = "free"
    PAID = "paid"


class AccessKey(Frozen):
    """A client's key, of which only the SHA-256 is configured (`printf %s KEY | sha256sum`)."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    tenant: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    tier: Tier = Tier.FREE


class AccessSettings(Frozen):
    keys: tuple[AccessKey, ...] = Field(
        (), description="none: no key is asked for, and everything is allowed"
    )


class RetentionSettings(Frozen):
    """What the runner's collector removes by itself, and after how long."""

    collect_every_s: float | None = Field(
        3600.0, gt=0, description="None: only `python -m serve_app.collect`"
    )
    grace_s: float = Field(24 * 3600.0, gt=0, description="how old garbage must be by the store's clock")
    exports_s: float | None = Field(30 * 24 * 3600.0, gt=0)
    analyses_s: float | None = Field(
        30 * 24 * 3600.0, gt=0, description="the cache of analyses; nodes keep their own"
    )
    tombstones_s: float | None = Field(30 * 24 * 3600.0, gt=0)


class ClusterSettings(Frozen):
    wait_for_resources: bool = Field(
        False,
        description="deploy what the cluster cannot hold yet, and wait for nodes to come: for clusters that "
        "scale from zero",
    )


class Settings(Frozen):
    """All settings of one Segue application."""

    profile: str = "local"
    storage: StorageSettings = StorageSettings()
    models: ModelSettings = ModelSettings()
    separation: SeparationSettings = SeparationSettings()
    analysis: AnalysisSettings = AnalysisSettings()
    process: ProcessSettings = ProcessSettings()
    tools: ToolSettings = ToolSettings()
    generation: GenerationLimits = GenerationLimits()
    uploads: UploadLimits = UploadLimits()
    jobs: JobSettings = JobSettings()
    events: EventSettings = EventSettings()
    export: ExportSettings = ExportSettings()
    http: HttpSettings = HttpSettings()
    cluster: ClusterSettings = ClusterSettings()
    access: AccessSettings = AccessSettings()
    retention: RetentionSettings = RetentionSettings()
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
