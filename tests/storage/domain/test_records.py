"""What is written comes back as it was, and what cannot be read is refused, never guessed."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.domain import crops, decisions, derivations, edits
from storage.domain.decisions import Marks
from storage.domain.derivations import Made
from storage.domain.jobs import JobKind, JobState, StageRecord, StageState
from storage.domain.model import Chain, Decision, Failure, History
from storage.domain.records import (
    BadRecord,
    chain_from_record,
    chain_to_record,
    format_time,
    job_from_record,
    job_to_record,
    node_from_record,
    parse_time,
)
from tests.storage.domain.builders import (
    NOW,
    START,
    audio,
    blob,
    chain_of,
    grow,
    ids_by,
    part_of,
    queued_job,
    stems,
    track,
    uploaded_root,
)

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
params = st.dictionaries(st.text(), json_values, max_size=4)
moments = st.datetimes(timezones=st.just(UTC))
failures = st.builds(Failure, code=st.text(), detail=st.text())

jobs = st.builds(
    lambda **fields: replace(queued_job(), **fields),
    kind=st.sampled_from(JobKind),
    params=params,
    state=st.sampled_from(JobState),
    attempt=st.integers(0, 3),
    fence=st.integers(0),
    beat=st.integers(0),
    lease_s=st.floats(0, 100),
    progress=st.floats(0, 1),
    cancel_requested=st.booleans(),
    stages=st.lists(
        st.builds(
            StageRecord,
            name=st.text(),
            seconds=st.floats(0, 1e6),
            state=st.sampled_from(StageState),
            params=st.dictionaries(st.text(), st.integers()),
            tracks=st.lists(st.just(track("vocals"))).map(tuple),
            error=st.none() | failures,
        )
    ).map(tuple),
    result=st.none() | params,
    error=st.none() | failures,
    created_at=moments,
    updated_at=moments,
    started_at=st.none() | moments,
    finished_at=st.none() | moments,
    machine=st.text(),
    machines_lost=st.integers(0, 20),
)


@given(job=jobs)
def test_any_job_comes_back_as_it_was(job: Any) -> None:
    assert job_from_record(json.loads(json.dumps(job_to_record(job)))) == job


@given(title=st.text(), params=params, provenance=st.none() | params, created_at=moments)
def test_a_chain_comes_back_whatever_its_texts_and_parameters(
    title: str, params: dict[str, Any], provenance: dict[str, Any] | None, created_at: datetime
) -> None:
    sound = replace(audio(), lead_in=blob("lead"), original=blob("clip"), original_format="mp3")
    root = replace(uploaded_root(), params=params, provenance=provenance, created_at=created_at, audio=sound)
    chain = decisions.rename(grow(chain_of(root), a="root"), title, NOW)
    assert chain_from_record(json.loads(json.dumps(chain_to_record(chain)))) == chain


def test_a_tombstone_comes_back_as_one() -> None:
    chain = edits.delete(chain_of(), NOW)
    assert chain_from_record(json.loads(json.dumps(chain_to_record(chain)))) == chain


@given(moment=moments, offset_minutes=st.integers(-720, 720))
def test_a_time_is_written_in_utc_wherever_it_was_told(moment: datetime, offset_minutes: int) -> None:
    if timedelta(days=1) < moment - datetime.min.replace(tzinfo=UTC) < timedelta(days=3_652_000):
        told = moment.astimezone(timezone(timedelta(minutes=offset_minutes)))
        assert format_time(told) == format_time(moment)
    assert parse_time(format_time(moment)) == moment


def test_a_time_has_microseconds_and_a_z_always() -> None:
    assert format_time(START) == "2026-03-01T12:00:00.000250Z"
    assert format_time(START.replace(microsecond=0)) == "2026-03-01T12:00:00.000000Z"


@pytest.mark.parametrize("version", [None, 0, 5, "1"])
def test_another_format_version_is_refused(version: object) -> None:
    with pytest.raises(BadRecord, match="format"):
        chain_from_record({**chain_to_record(chain_of()), "format_version": version})
    with pytest.raises(BadRecord, match="format"):
        job_from_record({**job_to_record(queued_job()), "format_version": version})


NEW_IN_4 = ("title", "stars", "note", "discarded_in", "cropped_from")


def older(chain: Chain, version: int) -> dict[str, Any]:
    """The chain's record as an earlier version wrote it."""
    record = {**chain_to_record(chain), "format_version": version}
    del record["history"], record["removed_version"]
    for node in record["nodes"]:
        for name in (*NEW_IN_4, *(("derived",) if version == 1 else ())):
            del node[name]
        if node["audio"] is not None:
            del node["audio"]["excerpt"]
        for derived in node.get("derived", ()) if version == 2 else ():
            del derived["document"], derived["summary"]
    return record


def test_records_of_the_third_version_are_read_with_what_was_discarded_together() -> None:
    chain = grow(chain_of(), a="root", b="a", c="a")
    chain = decisions.discard(decisions.discard(chain, "b", NOW), "a", NOW)
    chain = replace(chain, history=History())
    read = chain_from_record(older(chain, 3))
    assert read == chain
    assert ids_by(decisions.restore(read, "a", NOW), Decision.DISCARDED) == {"b"}
    # A job that was asked for then holds its node without any version.
    [node] = older(grow(chain_of(), a="root"), 3)["nodes"][1:]
    assert node_from_record(node) == grow(chain_of(), a="root").node("a")


def test_a_crop_and_marks_come_back() -> None:
    chain = grow(chain_of(), a="root")
    for source in ("root", "a"):
        crop = part_of(chain.node(source), f"part-of-{source}", 10, 3_000)
        chain = crops.add_crop(chain, crop, NOW)
        chain = decisions.mark(chain, crop.id, Marks("é", 5, "louder"), NOW)
    assert chain_from_record(json.loads(json.dumps(chain_to_record(chain)))) == chain


def test_records_of_the_first_version_are_read() -> None:
    chain = chain_of()
    assert chain_from_record(older(chain, 1)) == chain
    job = queued_job(stages=(StageRecord("generate", 1.5),))
    old = {**job_to_record(job), "format_version": 1, "stages": [{"name": "generate", "seconds": 1.5}]}
    assert job_from_record(old) == job


def test_what_is_derived_from_a_node_comes_back() -> None:
    chain = derivations.add(chain_of(), "root", stems("j"), NOW)
    chain = derivations.start(chain, "root", "j", 4, NOW)
    chain = derivations.publish(
        chain, "root", "j", 4, Made({"model": "m"}, (track("vocals", gain_db=-1.5),)), NOW
    )
    assert chain_from_record(chain_to_record(chain)) == chain


def test_what_was_derived_under_the_second_version_is_read() -> None:
    chain = derivations.add(chain_of(), "root", stems("j"), NOW)
    assert chain_from_record(older(chain, 2)) == chain


def test_every_field_is_needed() -> None:
    chain, job = chain_to_record(chain_of()), job_to_record(queued_job())
    for record, read in ((chain, chain_from_record), (job, job_from_record)):
        for name in record:
            with pytest.raises(BadRecord):
                read({key: value for key, value in record.items() if key != name})
    for name in chain["nodes"][0]:
        node = {key: value for key, value in chain["nodes"][0].items() if key != name}
        with pytest.raises(BadRecord):
            chain_from_record({**chain, "nodes": [node]})


@pytest.mark.parametrize(
    ("name", "value"), [("state", "resting"), ("kind", "paint"), ("created_at", "yesterday"), ("stages", 5)]
)
def test_a_value_of_no_meaning_is_refused(name: str, value: object) -> None:
    with pytest.raises(BadRecord):
        job_from_record({**job_to_record(queued_job()), name: value})
