"""All services of one application, made from a store and what runs the jobs. Neither Ray nor HTTP is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from configs.settings import Settings
from deployments.engines.analysis.protocol import Analyser
from deployments.engines.families import ANALYSER, GENERATOR, SEPARATOR, ServedModel, of_family
from deployments.engines.music.protocol import MusicGenerator
from deployments.events.bus import Announcer, ChainChanged, NoticeBus
from deployments.export.ffmpeg import find_ffmpeg
from deployments.stages.export.stage import ExportStage
from deployments.stages.peaks import PeaksStage
from deployments.telemetry.recorder import Recorder
from serve_app.access.audit import AuditLog
from serve_app.access.authentication import Access, StoredKeys
from serve_app.access.keys import Keys
from serve_app.access.oidc import Tokens
from serve_app.access.quotas import Quotas
from serve_app.access.tiers import Tiers
from serve_app.access.usage import UsageService
from serve_app.analysis.service import AnalysisService
from serve_app.chains.crops import CropService
from serve_app.chains.diffs import DiffService
from serve_app.chains.duplicates import DuplicateService
from serve_app.chains.new_chains import NewChains
from serve_app.chains.service import ChainService
from serve_app.chains.takes import TakeService
from serve_app.chains.uploads import UploadService
from serve_app.events.latest import LatestChains
from serve_app.events.listener import Listener
from serve_app.events.streams import EventStreams
from serve_app.events.tenant_streams import TenantStreams
from serve_app.events.tenant_watch import TenantWatches
from serve_app.exports.service import ExportService
from serve_app.jobs.admission import Admission
from serve_app.jobs.queue import JobQueue
from serve_app.jobs.service import JobService
from serve_app.playback.audio import AudioService
from serve_app.playback.lines import LineAudio
from serve_app.playback.live_audio import LiveAudio
from serve_app.processing.service import ProcessService
from serve_app.stems.service import StemsService
from serve_app.system.models import Cluster, ServedGenerators
from serve_app.system.separators import ServedSeparators
from serve_app.system.service import SystemService
from serve_app.system.storage_check import StorageCheck
from serve_app.tools.service import ToolService
from storage.repositories.audit import Audit
from storage.repositories.blobs import Blobs
from storage.repositories.chains import ChainBounds, Chains
from storage.repositories.credentials import Credentials
from storage.repositories.exports import Exports
from storage.repositories.jobs import Jobs
from storage.repositories.peaks import Peaks
from storage.repositories.request_rates import RequestRates
from storage.repositories.segments import Segments
from storage.stores.object_store import ObjectStore


@dataclass(frozen=True, slots=True)
class Services:
    """`store` and `listener` are here for the application's start and end alone."""

    settings: Settings
    store: ObjectStore
    listener: Listener
    access: Access
    rates: RequestRates
    keys: Keys
    quotas: Quotas
    usage: UsageService
    audit: AuditLog
    models: ServedGenerators
    chains: ChainService
    crops: CropService
    diffs: DiffService
    duplicates: DuplicateService
    uploads: UploadService
    takes: TakeService
    jobs: JobService
    admission: Admission
    audio: AudioService
    live: LiveAudio
    lines: LineAudio
    peaks: PeaksStage
    stems: StemsService
    analysis: AnalysisService
    tools: ToolService
    processing: ProcessService
    exports: ExportService
    streams: EventStreams
    tenant_streams: TenantStreams
    system: SystemService

    def by_type(self) -> dict[type, object]:
        """Each under its own type, as routes ask for them."""
        return {type(each): each for each in (getattr(self, field.name) for field in fields(self))}


def build_services(
    settings: Settings,
    store: ObjectStore,
    bus: NoticeBus,
    queue: JobQueue,
    cluster: Cluster,
    models: Sequence[ServedModel[Any]],
    generators: Mapping[str, MusicGenerator],
    analyser: Analyser | None,
    recorder: Recorder | None = None,
) -> Services:
    """`models` are what is served, each family's default first; `generators` are by model name, `analyser` None
    where there is none."""
    announcer = Announcer(bus)
    chains = Chains(
        store,
        on_change=lambda chain: announcer.announce(ChainChanged(chain.tenant, chain.id, chain.version)),
        bounds=ChainBounds(settings.chains.max_nodes, settings.chains.max_record_bytes),
    )
    blobs, exports = Blobs(store), Exports(store)
    peaks = PeaksStage(blobs, Peaks(store))
    ffmpeg = find_ffmpeg(settings.export.ffmpeg_path)
    listener, latest = Listener(bus, recorder), LatestChains(chains)
    job_records = Jobs(store)
    jobs = JobService(job_records, chains, queue)
    access = settings.access
    tiers = Tiers(access.tiers, settings.jobs.max_active_per_tenant)
    credentials = Credentials(store)
    quotas = Quotas(job_records.accounts, tiers)
    admission = Admission(job_records, jobs, queue, quotas, settings)
    new_chains = NewChains(chains, settings.jobs)
    generating = ServedGenerators(of_family(GENERATOR, models))
    separating = ServedSeparators(of_family(SEPARATOR, models), settings.separation)
    analyser_entry = next((model.entry for model in of_family(ANALYSER, models)), None)
    analyses = AnalysisService(chains, admission, blobs, analyser_entry, settings.analysis)
    crops = CropService(chains, blobs, peaks, settings.jobs)
    return Services(
        settings=settings,
        store=store,
        listener=listener,
        access=Access(
            settings,
            tiers,
            StoredKeys(credentials, access.cache_s),
            Tokens(settings.oidc) if settings.oidc.issuer is not None else None,
        ),
        rates=RequestRates(store),
        keys=Keys(credentials, tiers),
        quotas=quotas,
        usage=UsageService(job_records.accounts),
        audit=AuditLog(
            Audit(store), is_on=settings.keys_are_required if access.audit is None else access.audit
        ),
        models=generating,
        chains=ChainService(chains, jobs),
        crops=crops,
        diffs=DiffService(chains, blobs, analyser, settings.analysis.max_duration_s),
        duplicates=DuplicateService(chains, new_chains),
        uploads=UploadService(chains, new_chains, blobs, peaks, analyses, quotas, settings.uploads),
        takes=TakeService(chains, new_chains, crops, admission, generating),
        jobs=jobs,
        admission=admission,
        audio=AudioService(
            blobs,
            ExportStage(blobs, exports, ffmpeg, settings.export.ffmpeg_timeout_s),
            settings.storage.presign_expiry_s if settings.storage.presign else None,
        ),
        live=LiveAudio(jobs, chains, blobs, Segments(store), listener, settings.events),
        lines=LineAudio(blobs),
        peaks=peaks,
        stems=StemsService(chains, admission, separating),
        analysis=analyses,
        tools=ToolService(generators[generating.default], analyser, quotas, settings),
        processing=ProcessService(
            jobs, admission, blobs, separating, quotas, settings.process, settings.uploads
        ),
        exports=ExportService(chains, blobs, exports, jobs, admission, settings.export),
        streams=EventStreams(latest, jobs, listener, settings.events),
        tenant_streams=TenantStreams(
            TenantWatches(chains, job_records, jobs, latest, listener, settings.events),
            latest,
            listener,
            settings.events,
        ),
        system=SystemService(cluster, models, job_records, StorageCheck(store, recorder=recorder), settings),
    )
