"""The specs of all kinds of jobs: what a record holds is what was asked for, and what a job reads is pinned."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from deployments.audio.normalise import NormaliseMode
from deployments.engines.separation.options import SeparationOptions
from deployments.export.plan import ExportOptions, VideoOptions
from deployments.export.tags import Tags
from deployments.specs.derive import DERIVATIONS, AnalysisSpec, StemsSpec
from deployments.specs.export import ExportSpec
from deployments.specs.generate import GenerateSpec
from deployments.specs.process import PipelinePlan, ProcessSpec
from deployments.specs.spec import JobSpec, new_job
from deployments.stages.export.order import ExportOrder, LineNode, OtherTake, plain_order
from deployments.stages.pipeline.encode import Delivery
from deployments.stages.pipeline.normalisation import Normalisation
from storage.domain.jobs import JobKind
from storage.domain.model import BlobRef, Node, NodeAudio, Origin, Track
from storage.domain.records import job_from_record, job_to_record

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def _blob(name: str) -> BlobRef:
    return BlobRef(name, "ab" * 32, 1234)


AUDIO = NodeAudio(
    _blob("take"), 8000, 8000, 1, -20.0, -3.0, lead_in=_blob("lead"), original=_blob("original")
)
NODE = Node("n", "root", Origin.GENERATION, NOW, duration_s=1.0, prompt="strings", seed=7, job_id="j")
SOURCE = Track("mix", _blob("source"), "wav", 8000, 8000, 2, -20.0, -3.0, {"codec": "flac"})
SPECS: list[tuple[JobSpec, tuple[str, ...]]] = [
    (GenerateSpec("c", NODE), ()),
    (GenerateSpec("c", NODE, "A title"), ()),
    (StemsSpec("c", "n", "htdemucs", SeparationOptions(two_stems="vocals", shifts=2)), ()),
    (AnalysisSpec("c", "n", melody=True), ()),
    (
        ExportSpec(
            "c",
            plain_order(
                [AUDIO, AUDIO],
                ExportOptions("wav", 8000, 1, 16, tags=Tags(title="T", comment="C")),
                "sketch.wav",
            ),
        ),
        ("lead", "original", "take"),
    ),
    (
        ProcessSpec(
            SOURCE,
            "song.flac",
            PipelinePlan(
                "htdemucs",
                SeparationOptions(),
                composite=False,
                normalisation=Normalisation(NormaliseMode.PEAK, -1.0, -1.0),
                delivery=Delivery("flac", 24),
            ),
        ),
        ("source",),
    ),
]


@pytest.mark.parametrize(("spec", "inputs"), SPECS)
def test_a_spec_survives_its_jobs_record_and_pins_what_it_reads(
    spec: JobSpec, inputs: tuple[str, ...]
) -> None:
    job = new_job(spec, job_id="j", tenant="t", request_sha256="cd" * 32, now=NOW)
    kept = job_from_record(json.loads(json.dumps(job_to_record(job))))
    assert (kept.kind, kept.inputs) == (spec.kind, inputs)
    assert type(spec).from_record(kept.params) == spec


@pytest.mark.parametrize(("spec", "inputs"), SPECS)
def test_the_inputs_of_a_record_of_the_third_version_are_found(
    spec: JobSpec, inputs: tuple[str, ...]
) -> None:
    job = new_job(spec, job_id="j", tenant="t", request_sha256="cd" * 32, now=NOW)
    record: Mapping[str, Any] = json.loads(json.dumps(job_to_record(job)))
    old = {name: value for name, value in record.items() if name != "inputs"} | {"format_version": 3}
    assert job_from_record(old).inputs == inputs


def test_there_is_a_spec_for_each_kind() -> None:
    assert {spec.kind for spec, _ in SPECS} == set(JobKind)
    assert set(DERIVATIONS) == {kind for kind in JobKind if kind.publishes_in_a_chain} - {JobKind.GENERATE}


def test_all_that_gets_into_an_export_is_pinned() -> None:
    stem = Track("drums", _blob("drums"), "wav", 8000, 8000, 1, -20.0, -6.0)
    beside = NodeAudio(_blob("beside"), 8000, 8000, 1, -20.0, -3.0)
    order = ExportOrder(
        nodes=(LineNode(AUDIO, "intro", (stem,), _blob("analysis")),),
        options=ExportOptions(
            "mp4", 8000, 1, mix=(("drums", -3.0),), tags=Tags(bpm=96.5), video=VideoOptions(loop=True)
        ),
        filename="x.mp4",
        licence="CC-BY-NC-4.0",
        cover=_blob("cover"),
        documents=_blob("documents"),
        takes=(OtherTake(beside, "beside", 17),),
    )
    spec = ExportSpec("c", order)
    assert ExportSpec.from_record(json.loads(json.dumps(spec.to_record()))) == spec
    assert set(spec.inputs) == {
        *("take", "lead", "original", "drums", "analysis", "cover", "documents", "beside"),
    }
