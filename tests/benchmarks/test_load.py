"""The plan of a load, and what follows from its samples; the musicians themselves need the extra `load`."""

from __future__ import annotations

from benchmarks.load.plan import Phase, phases_from, phases_to
from benchmarks.load.samples import Sample, windows


def test_phases_follow_one_another_and_end() -> None:
    phases = phases_from("60x4,30x16")
    assert phases_from(phases_to(phases)) == phases
    assert [Phase.at(phases, run_s) for run_s in (0, 59.9, 60, 89.9)] == [Phase(60, 4)] * 2 + [
        Phase(30, 16)
    ] * 2
    assert Phase.at(phases, 90) is None


def test_windows_hold_every_sample_once() -> None:
    samples = [Sample(at_s, "take", 1.0, "ready") for at_s in (100.0, 104.9, 105.0, 121.0)]
    assert [(at_s, len(found)) for at_s, found in windows(samples, 100.0, 5.0)] == [
        (2.5, 2), (7.5, 1), (12.5, 0), (17.5, 0), (22.5, 1),
    ]  # fmt: skip
