"""A worker with all its handlers, from a store and generators. The deployment and the tests use the same one."""

from __future__ import annotations

from collections.abc import Mapping

from configs.settings import Settings
from deployments.engines.analysis.protocol import Analyser
from deployments.engines.music.protocol import MusicGenerator
from deployments.engines.separation.protocol import Separator
from deployments.events.bus import Announcer, ChainChanged, SegmentStored
from deployments.export.c2pa import load_signer
from deployments.export.ffmpeg import find_ffmpeg
from deployments.stages.analyse import AnalyseStage
from deployments.stages.export.stage import ExportStage
from deployments.stages.generate import GenerateStage
from deployments.stages.peaks import PeaksStage
from deployments.stages.stems import StemsStage
from deployments.telemetry.jobs import JobMeter
from deployments.telemetry.spending import MeteredAnalyser, MeteredGenerator, MeteredSeparator, count_stored
from deployments.worker.foresight import Foresight
from deployments.worker.handlers.analysis import AnalysisHandler
from deployments.worker.handlers.export import ExportHandler
from deployments.worker.handlers.generate import GenerateHandler
from deployments.worker.handlers.process import PipelineTools, ProcessHandler
from deployments.worker.handlers.stems import StemsHandler
from deployments.worker.heartbeat import Heart
from deployments.worker.machines import Machines
from deployments.worker.worker import Worker
from storage.domain.jobs import JobKind
from storage.repositories.analyses import Analyses
from storage.repositories.blobs import Blobs
from storage.repositories.chains import Chains
from storage.repositories.exports import Exports
from storage.repositories.jobs import Jobs
from storage.repositories.peaks import Peaks
from storage.repositories.segments import Segments
from storage.stores.object_store import ObjectStore


def build_worker(
    store: ObjectStore,
    generators: Mapping[str, MusicGenerator],
    separators: Mapping[str, Separator],
    analyser: Analyser | None,
    announcer: Announcer,
    settings: Settings,
    beats: ObjectStore | None = None,
    meter: JobMeter | None = None,
    machines: Machines | None = None,
) -> Worker:
    """`beats` is another way to the same store, with threads and connections of its own, for the heartbeats: large
    transfers then hold none up. `generators` and `separators` are by model name; `analyser` None: nothing is
    analysed here.

    Raises FfmpegMissing, SigningRefused.
    """
    chains = Chains(
        store,
        on_change=lambda chain: announcer.announce(ChainChanged(chain.tenant, chain.id, chain.version)),
    )
    segments = Segments(
        store,
        on_stored=lambda key: announcer.announce(
            SegmentStored(key.tenant, key.job_id, key.fence, key.number)
        ),
    )
    blobs, jobs, ffmpeg = Blobs(store, count_stored), Jobs(store), find_ffmpeg(settings.export.ffmpeg_path)
    generators = {name: MeteredGenerator(generator) for name, generator in generators.items()}
    separators = {name: MeteredSeparator(separator) for name, separator in separators.items()}
    analyser = MeteredAnalyser(analyser) if analyser is not None else None
    in_flight = settings.separation.in_flight
    tools = PipelineTools(separators, ffmpeg, settings.export.ffmpeg_timeout_s, in_flight)
    analyse = AnalyseStage(blobs, Analyses(store), analyser, settings.analysis.max_duration_s)
    return Worker(
        jobs,
        {
            JobKind.GENERATE: GenerateHandler(
                chains,
                GenerateStage(blobs, generators, analyse, PeaksStage(blobs, Peaks(store))),
                segments,
            ),
            JobKind.STEMS: StemsHandler(chains, StemsStage(blobs, separators, in_flight)),
            JobKind.ANALYSIS: AnalysisHandler(chains, analyse),
            JobKind.PROCESS: ProcessHandler(jobs, blobs, tools, settings.jobs.max_attempts),
            JobKind.EXPORT: ExportHandler(
                ExportStage(
                    blobs,
                    Exports(store),
                    ffmpeg,
                    settings.export.ffmpeg_timeout_s,
                    signer=load_signer(settings.export.c2pa_key, settings.export.c2pa_certificates),
                ),
                blobs,
            ),
        },
        settings.jobs,
        announcer,
        heart=Heart(Jobs(beats)) if beats is not None else None,
        foresight=Foresight(jobs, announcer, settings.jobs.concurrent),
        meter=meter,
        machines=machines,
    )
