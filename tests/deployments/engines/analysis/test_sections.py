from __future__ import annotations

import itertools

import numpy as np
import pytest

from deployments.engines.analysis.mood.timbre import describe_timbre
from deployments.engines.analysis.pitch.chroma import find_peaks
from deployments.engines.analysis.sections import MIN_DURATION_S, MIN_SECTION_S, find_sections
from tests.deployments.engines.analysis.sounds import cadence, drums, joined, noise


def sections(samples):
    return find_sections(describe_timbre(samples), find_peaks(samples), samples.size / 22_050)


def verse(duration_s: int = 12):
    return cadence(0, "major", bars=duration_s)


def chorus(duration_s: int = 12):
    return (drums(duration_s) + cadence(8, "minor", bars=duration_s) + 0.5 * noise(duration_s, 0.03)).astype(
        np.float32
    )


def test_what_comes_back_has_the_same_letter() -> None:
    found = sections(joined([verse(), chorus(), verse(), chorus()]))
    assert [section.label for section in found] == ["A", "B", "A", "B"]
    assert [section.start_s for section in found] == pytest.approx([0, 12, 24, 36], abs=1.5)


def test_sections_cover_the_clip_and_none_is_too_short() -> None:
    found = sections(joined([verse(9), chorus(8), verse(2), chorus(6)]))
    assert found[0].start_s == 0.0
    assert found[-1].end_s == 25.0
    assert all(first.end_s == second.start_s for first, second in itertools.pairwise(found))
    assert all(section.end_s - section.start_s >= MIN_SECTION_S - 0.5 for section in found)


def test_one_thing_all_along_is_one_section() -> None:
    assert [section.label for section in sections(verse(32))] == ["A"]
    assert [section.label for section in sections(noise(24.0))] == ["A"]


def test_short_and_silent_clips_have_none() -> None:
    assert sections(verse(8)) == ()
    assert sections(np.zeros(round(22_050 * (MIN_DURATION_S + 1)), np.float32)) == ()
