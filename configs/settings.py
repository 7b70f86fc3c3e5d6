"""Every number and name that an operator may change, in one frozen tree.

Settings are data; what does work (stores, engines, clients) is made from them in `serve_app.app` and
travels separately. An unknown field is an error, never ignored.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().resolve())


def _absolute_url(url: str) -> str:
    scheme, _, rest = url.partition(":")
    return f"file:{_absolute(rest)}" if scheme == "file" and rest else url


AbsolutePath = Annotated[str, AfterValidator(_absolute)]
"""A path, `~` and relative ones included: absolute from where the settings are loaded, for processes elsewhere."""
StoreUrl = Annotated[str, AfterValidator(_absolute_url)]


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class StorageSettings(Frozen):
    """Where chains, jobs and audio live: `file:PATH` (a local folder), `s3://BUCKET` or `s3://BUCKET/PREFIX`,
    or `memory:` (gone with the process, for tests in one process).

    The rest is for S3. Access keys are no settings: they come from the environment, the files of a profile
    or the role of the machine, as for every client of AWS.
    """

    url: StoreUrl = Field(
        "file:data",
        description="file:PATH (on several nodes a shared folder), s3://BUCKET/PREFIX, or memory:",
    )
    endpoint_url: str | None = Field(
        None, pattern=r"^https?://[^/?#@\s]+/?$", description="the server, if it is not AWS's"
    )
    region: str | None = Field(None, description="None: the environment's or the profile's")
    profile: str | None = Field(None, description="a section of ~/.aws/config and ~/.aws/credentials")
    ca_bundle: AbsolutePath | None = Field(
        None, description="file of the authorities that the server's certificate may be signed by"
    )
    addressing_style: Literal["auto", "path", "virtual"] = Field(
        "auto", description="auto: path with an endpoint_url, else the bucket as part of the host name"
    )
    connect_timeout_s: float = Field(3.0, gt=0, description="how long a connection may take to open")
    read_timeout_s: float = Field(8.0, gt=0, description="how long any wait for the server's next bytes is")
    max_attempts: int = Field(4, ge=1, description="how often a request is made that got no answer")
    presign: bool = Field(
        False, description="send downloads to the bucket itself; clients must reach it by the same name"
    )
    presign_expiry_s: int = Field(3600, ge=1, le=7 * 24 * 3600, description="how long such a link is good")
    require_existing: bool = Field(
        False,
        description="file: refuse a folder that no server has used yet, such as the mount point of a volume that "
        "is not mounted; for every start but the first",
    )
    unsafe_single_writer: bool = Field(
        False, description="go on with a server that ignores conditions, at the risk of losing changes"
    )


class ModelSettings(Frozen):
    """Which models are served, and how they run. Each served model is a deployment of its own; the first is
    the default."""

    served: tuple[str, ...] = Field(
        ("starter",),
        min_length=1,
        description="names of models, or absolute paths of folders with checkpoints",
    )
    engine: Literal["segue", "audiocraft"] = Field(
        "segue", description="segue: takes are batched and streamed; audiocraft: the library's own generate"
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: the GPU where there is one")
    dtype: Literal["auto", "float32", "float16", "bfloat16", "int8"] = Field(
        "auto", description="auto: float32 on a CPU, bfloat16 on a GPU; int8 is for CPUs"
    )
    cache_dir: AbsolutePath = Field(
        "~/.cache/segue/models", description="where models that Segue makes are kept; hub weights: HF_HOME"
    )
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

    served: tuple[str, ...] = Field(
        ("starter",), description="names of separators, or absolute paths of folders with Demucs's packages"
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: the GPU where there is one")
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        "auto", description="auto: float32 on a CPU and on a GPU; the others are faster and less exact"
    )
    threads: int | None = Field(None, ge=1, description="torch threads per replica; None: torch decides")
    batch: int = Field(4, ge=1, description="segments that share a forward pass on a GPU")
    in_flight: int = Field(2, ge=1, description="segments of one track that are separated at once")
    max_shifts: int = Field(5, ge=0, le=20, description="the most shifted passes that a request may ask for")


class ProcessSettings(Frozen):
    """The processing pipeline (`POST /process`): what it takes, does by default, and how long it keeps things."""

    max_bytes: int = Field(500_000_000, description="largest track")
    max_duration_s: float = Field(3600.0, description="longest track")
    max_decoded_bytes: int = Field(
        2 * 1024**3, ge=1, description="largest track as 32-bit floats: an hour at 48 kHz in stereo is 1.3 GB"
    )
    max_disk_bytes: int = Field(
        20 * 1024**3, ge=1, description="most temporary disk that a track may need on a runner; else 413"
    )
    decode_timeout_s: float = Field(600.0, description="longest that decoding a track may take")
    concurrent_uploads: int = Field(2, ge=1, description="tracks decoded at once per ingress replica")
    target_db: float = Field(
        -14.0, ge=-70, le=0, description="of normalised tracks, unless a request says it"
    )
    normalize: Literal["off", "peak", "lufs"] = Field(
        "lufs", description="how normalised copies are levelled"
    )
    ceiling_dbtp: float = Field(-1.0, ge=-20, le=0, description="no normalised track's true peak is above it")
    outputs_s: float = Field(
        24 * 3600.0, gt=0, description="how long outputs can be downloaded after the end"
    )


class AnalysisSettings(Frozen):
    """Which analyser is served, and how it runs."""

    served: str | None = Field(
        "signal", description="an analyser's name, or the folder of a CLAP model; None: no analysis at all"
    )
    melody: Literal["crepe-tiny", "crepe-full", "none"] = Field(
        "crepe-tiny", description="the pitch tracker; crepe-full is 20 times the work"
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: the GPU where there is one")
    threads: int | None = Field(None, ge=1, description="torch threads per replica; None: torch decides")
    automatic: bool = Field(True, description="every upload is analysed, without its melody")
    max_duration_s: float = Field(600.0, gt=0, description="of a clip; longer ones by their beginning")


class ToolSettings(Frozen):
    """The stateless tools at the root: `/analyze`, `/generate`, `/compose`, `/continue`."""

    max_bytes: int = Field(30_000_000, description="largest file")
    max_input_s: float = Field(
        30.0, gt=0, description="of `/analyze` and `/compose`; longer ones are refused"
    )
    deadline_s: float = Field(60.0, gt=0, description="then the work is cancelled: 504")
    concurrent: int = Field(8, ge=1, description="requests worked on at once per ingress replica; else 429")
    folder: AbsolutePath | None = Field(
        None, description="where `/continue` reads and writes files, and nowhere else; None: it is off"
    )
    logs: bool = Field(False, description="keep what the tools are given and give, in `logs_folder`")
    logs_folder: AbsolutePath = Field("data/tool-logs", description="where `logs` writes")


class GenerationLimits(Frozen):
    """What a request for takes may ask for."""

    min_duration_s: float = Field(0.5, description="shortest take")
    max_duration_s: float = Field(300.0, description="longest take")
    max_prompt_duration_s: float = Field(30.0, description="longest context of a continuation")
    max_prompt_chars: int = Field(1000, description="longest prompt")
    max_takes: int = Field(8, description="takes of one request")
    max_crossfade_s: float = Field(2.0, ge=0, le=3, description="longest crossfade at a seam")


class ChainLimits(Frozen):
    """What a chain may grow to. Each change writes its whole record, so this bounds what a change costs."""

    max_nodes: int = Field(2000, ge=1, description="nodes, discarded ones too; then 409 `chain-full`")
    max_record_bytes: int = Field(
        8 * 1024**2, ge=65_536, description="record with another node in it; then 409 `chain-full`"
    )


class UploadLimits(Frozen):
    """What an upload may be, and what decoding it may cost."""

    max_bytes: int = Field(100 * 1024 * 1024, description="largest file")
    max_duration_s: float = Field(600.0, description="longest clip")
    max_decoded_bytes: int = Field(
        256 * 1024**2, ge=1, description="largest clip as 32-bit floats: ten minutes at 48 kHz in stereo fit"
    )
    min_duration_s: float = Field(0.1, description="shortest clip")
    max_channels: int = Field(2, description="most channels")
    min_rate_hz: int = Field(4_000, description="lowest sample rate")
    max_rate_hz: int = Field(192_000, description="highest sample rate")
    decode_timeout_s: float = Field(60.0, description="longest that decoding a clip may take")
    decode_memory_bytes: int = Field(2 * 1024**3, description="address space of the decoder's process")
    concurrent: int = Field(4, ge=1, description="uploads decoded at once per ingress replica")


class JobSettings(Frozen):
    """How jobs are claimed, tried and bounded."""

    lease_s: float = Field(12.0, gt=0, description="how long a claim of a job holds without a heartbeat")
    takeover_grace_s: float = Field(5.0, ge=0, description="how long after its lease a job is taken over")
    max_attempts: int = Field(3, ge=1, description="attempts at a job before it fails")
    sweep_s: float = Field(5.0, gt=0, description="how often runners look for jobs that nobody works on")
    watch_s: float = Field(1.0, gt=0, description="how often a runner looks whether its job was cancelled")
    concurrent: int = Field(16, ge=1, description="jobs that one runner works on at once, `bulk` ones apart")
    bulk: int = Field(
        4, ge=1, description="jobs of `/process` that one runner works on at once, beside the others"
    )
    deadline_s: float = Field(3600.0, gt=0, description="the longest that one attempt may take")
    retry_delay_s: float = Field(2.0, ge=0, description="pause before an attempt after a broken engine")
    longest_pause_s: float = Field(
        15.0, gt=0, description="longest pause between tries while a storage is in trouble or a model is busy"
    )
    max_active_per_tenant: int = Field(64, ge=1, description="unfinished jobs of a tenant before 429")
    idempotency_ttl_s: float = Field(24 * 3600.0, description="how long an Idempotency-Key is remembered")


class EventSettings(Frozen):
    """Server-sent events."""

    poll_s: float = Field(2.0, gt=0, description="how often documents are polled, hub or no hub")
    heartbeat_s: float = Field(
        15.0, gt=0, description="a comment on silent streams, so that proxies keep them"
    )
    max_stream_s: float = Field(1800.0, gt=0, description="a stream's life; the client then reconnects")


class ExportSettings(Frozen):
    """Exports of the spine."""

    wait_s: float = Field(
        30.0, ge=0, description="how long the POST waits for the file before it answers 202"
    )
    ffmpeg_path: str | None = Field(
        None, description="null: the ffmpeg on PATH, else the one in the dependencies"
    )
    ffmpeg_timeout_s: float = Field(
        300.0, description="longest that one encoding may take, or each minute of a video"
    )
    c2pa_key: AbsolutePath | None = Field(
        None,
        description="PEM file of the private key that exports are signed with; null: they are not signed",
    )
    c2pa_certificates: AbsolutePath | None = Field(
        None, description="PEM file of that key's certificate, then those that vouch for it"
    )

    @property
    def signs(self) -> bool:
        """Whether exports are signed."""
        return self.c2pa_key is not None

    @model_validator(mode="after")
    def _key_with_certificates(self) -> Self:
        if (self.c2pa_key is None) != (self.c2pa_certificates is None):
            raise ValueError(
                "export.c2pa_key and export.c2pa_certificates belong together: set both, or neither"
            )
        return self


class HttpSettings(Frozen):
    """Who may call from where, and how much of an ingress replica callers may hold at once."""

    allowed_hosts: tuple[str, ...] = Field(("*",), description="host names that requests may name")
    cors_origins: tuple[str, ...] = Field((), description="origins whose pages may call from a browser")
    open_requests: int = Field(
        1000,
        ge=5,
        description="requests answered at once per ingress replica, streams among them; of these, one tenant "
        "(without keys: one address) never gets the last fifth of what is free",
    )
    body_idle_s: float = Field(30.0, gt=0, description="longest pause between two parts of a body; then 408")
    body_s: float = Field(1800.0, gt=0, description="longest that a body may take to arrive; then 408")


class Capability(StrEnum):
    """What a key may do beyond reading, uploading and deciding: `generate` takes, `stems` and `/process`, `export`
    lines, `tools` at the root, and `admin`: keys, everybody's usage and the audit record."""

    GENERATE = "generate"
    STEMS = "stems"
    EXPORT = "export"
    TOOLS = "tools"
    ADMIN = "admin"


class Tier(Frozen):
    """What the keys of a tier may do, and how much their tenant may use. A limit that is null does not hold; days
    are UTC's."""

    name: str = Field(pattern=r"^[a-z0-9_-]{1,32}$")
    capabilities: tuple[Capability, ...] = tuple(Capability)
    weight: int = Field(1, ge=1, le=100, description="turns that its tenants get for one of others")
    unfinished_jobs: int | None = Field(None, ge=1, description="None: `jobs.max_active_per_tenant`")
    gpu_s_per_day: float | None = Field(None, ge=0, description="seconds that models work")
    audio_s_per_day: float | None = Field(None, ge=0, description="seconds of audio, made or taken apart")
    stored_bytes: int | None = Field(None, ge=0, description="all that is stored")
    upload_bytes_per_day: int | None = Field(None, ge=0, description="all that is uploaded")
    requests_per_minute: int | None = Field(None, ge=1, description="of any kind; that many at once at most")
    streams: int | None = Field(None, ge=1, description="event streams open at once, per ingress replica")


class AccessKey(Frozen):
    """A client's key, of which only the SHA-256 is configured (`printf %s KEY | sha256sum`)."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    tenant: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    tier: str = "free"


class OidcSettings(Frozen):
    """Bearer tokens (JWT) of an OpenID Connect issuer, as an alternative to keys."""

    issuer: str | None = Field(
        None,
        pattern=r"^https?://[^?#\s]+$",
        description="None: no tokens are taken; else the `iss` of tokens",
    )
    audience: str | None = Field(None, description="the `aud` of tokens; None: any")
    jwks_url: str | None = Field(
        None, description="the issuer's keys; None: as its openid-configuration names them"
    )
    algorithms: tuple[str, ...] = Field(
        ("RS256", "ES256"), min_length=1, description="of signatures; never one with a shared secret"
    )
    tenant_claim: str = Field(
        "sub", description="the claim that says whose tenant it is; one that is no id is hashed"
    )
    tier_claim: str = Field("segue_tier", description="the claim that names the tier")
    tier: str = Field("free", description="the tier of tokens without that claim")
    leeway_s: float = Field(30.0, ge=0, description="how far the issuer's clock may be off")
    keys_s: float = Field(3600.0, gt=0, description="how long the issuer's keys are kept")


TIERS = (
    Tier(name="free", capabilities=(Capability.GENERATE, Capability.EXPORT, Capability.TOOLS)),
    Tier(
        name="paid",
        capabilities=(Capability.GENERATE, Capability.STEMS, Capability.EXPORT, Capability.TOOLS),
        weight=2,
    ),
    Tier(name="operator", weight=2),
)


class AccessSettings(Frozen):
    """Keys, their tenants and tiers. Keys are configured here, or made with `segue keys` and kept, hashed, in the
    storage; both hold."""

    required: bool | None = Field(
        None,
        description="whether a request needs a key. None: where `keys` or an issuer are configured; and then a "
        "server that listens on more than loopback does not start without them",
    )
    keys: tuple[AccessKey, ...] = Field(
        (), description="keys that are configured, beside those in the storage"
    )
    tiers: tuple[Tier, ...] = Field(TIERS, min_length=1, description="the table of tiers, the least first")
    cache_s: float = Field(
        3.0, ge=0, description="how long a replica believes what it read of a key: a revoked one ends by then"
    )
    gpu_s_per_audio_s: float = Field(
        1.0, ge=0, description="model time held for a second of audio, until what it took is known"
    )
    audit: bool | None = Field(None, description="keep the audit record; None: where keys are required")


class RetentionSettings(Frozen):
    """What the runner's collector removes by itself, and after how long."""

    collect_every_s: float | None = Field(
        3600.0, gt=0, description="None: only `python -m serve_app.collect`"
    )
    grace_s: float = Field(24 * 3600.0, gt=0, description="how old garbage must be by the store's clock")
    exports_s: float | None = Field(30 * 24 * 3600.0, gt=0, description="exported files")
    analyses_s: float | None = Field(
        30 * 24 * 3600.0, gt=0, description="the cache of analyses; nodes keep their own"
    )
    tombstones_s: float | None = Field(30 * 24 * 3600.0, gt=0, description="records of deleted chains")
    jobs_s: float | None = Field(
        30 * 24 * 3600.0,
        gt=0,
        description="records of jobs, counted from their end; longer while what they made is there, or their "
        "Idempotency-Key is remembered",
    )


class ClusterSettings(Frozen):
    """What the application asks of its cluster."""

    wait_for_resources: bool = Field(
        False,
        description="deploy what the cluster cannot hold yet, and wait for nodes to come: for clusters that "
        "scale from zero",
    )


class TelemetrySettings(Frozen):
    """Traces by OpenTelemetry. Metrics and logs need no settings."""

    traces_url: str | None = Field(
        None,
        pattern=r"^https?://[^\s]+$",
        description="where spans go, OTLP over HTTP: http://collector:4318/v1/traces; needs the extra `traces`",
    )
    traces_ratio: float = Field(
        1.0, ge=0, le=1, description="share of requests that are traced, unless the client's own trace says"
    )


class Settings(Frozen):
    """All settings of one Segue application. A section whose defaults are paths is made when the settings are, not
    when this module is imported."""

    profile: str = Field("local", description="set by the deploy file alone")
    storage: StorageSettings = Field(default_factory=StorageSettings)
    models: ModelSettings = Field(default_factory=ModelSettings)
    separation: SeparationSettings = SeparationSettings()
    analysis: AnalysisSettings = AnalysisSettings()
    process: ProcessSettings = ProcessSettings()
    tools: ToolSettings = Field(default_factory=ToolSettings)
    generation: GenerationLimits = GenerationLimits()
    chains: ChainLimits = ChainLimits()
    uploads: UploadLimits = UploadLimits()
    jobs: JobSettings = JobSettings()
    events: EventSettings = EventSettings()
    export: ExportSettings = ExportSettings()
    http: HttpSettings = HttpSettings()
    cluster: ClusterSettings = ClusterSettings()
    access: AccessSettings = AccessSettings()
    oidc: OidcSettings = OidcSettings()
    retention: RetentionSettings = RetentionSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="of Segue's own log")

    @property
    def keys_are_required(self) -> bool:
        """Whether a request needs a key or a token."""
        configured = bool(self.access.keys) or self.oidc.issuer is not None
        return configured if self.access.required is None else self.access.required

    @model_validator(mode="after")
    def _known_tiers(self) -> Self:
        names = [tier.name for tier in self.access.tiers]
        if len(set(names)) != len(names):
            raise ValueError("two tiers have the same name")
        named = {key.tier for key in self.access.keys}
        if self.oidc.issuer is not None:
            named.add(self.oidc.tier)
        for tier in named:
            if tier not in names:
                raise ValueError(f"there is no tier {tier!r}: {', '.join(names)}")
        return self
