"""What is said of a benchmark's clips follows from what was heard in them, and a judge learns what is right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.analysis_rhythm import BEATS, CONFIDENCE, TEMPO, Heard, measure
from benchmarks.corpus.clips import Clip
from benchmarks.corpus.music import Truth
from benchmarks.generator_findings import Findings
from benchmarks.train_rhythm import Case, loss, train, validate
from deployments.engines.analysis.analysis import Rhythm

TRUTH = Truth(120.0, True, 4, (0.5, 1.0, 1.5, 2.0), (0.5,), "C major", 0.0, ())
CLIP = Clip(0, "drums", "none", Path("none.flac"), TRUTH)
RIGHT = Rhythm(120.5, 0.9, 60.0, True, (0.5, 1.0, 1.5, 2.0), (0.5,), 4)
DOUBLED = Rhythm(240.0, 0.3, 120.0, True, (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0), (), None)


def test_tables_and_targets_follow_from_what_was_heard() -> None:
    findings = Findings()
    heard = [Heard(CLIP, RIGHT, 60.0, (0.5, 1.5)), Heard(CLIP, DOUBLED, 120.0, (0.5, 1.0, 1.5, 2.0))]
    measure(findings, heard)
    tempo = findings.rows[TEMPO][0]
    assert tempo["number"] == 2
    assert str(tempo["Acc1"]).startswith("0.500 (")
    assert str(tempo["Acc2"]).startswith("1.000 (")
    beats = findings.rows[BEATS][0]
    assert str(beats["meter"]).startswith("0.500")
    assert str(beats["beats"]).startswith(f"{(1 + 8 / 11) / 2:.3f}")
    assert [row["clips"] for row in findings.rows[CONFIDENCE]] == [1, 0, 1, 0]
    assert {target.what: target.is_met for target in findings.targets}["tempo: Acc2"]


def test_a_judge_learns_what_is_right() -> None:
    rng = np.random.default_rng(1)
    cases = []
    for seed in range(60):
        features = rng.standard_normal((5, 6)).astype(np.float32)
        cases.append(Case(seed, features, np.arange(5) == (features[:, 2] - features[:, 4]).argmax()))
    judge = train(cases, penalty=1.0)
    chances = judge.chances(list(cases[0].features))
    assert chances.sum() == pytest.approx(1)
    assert np.mean([case.is_right[judge.chances(list(case.features)).argmax()] for case in cases]) > 0.85
    assert validate(cases, penalty=1.0) > 0.85


def test_the_gradient_is_the_losss() -> None:
    rng = np.random.default_rng(3)
    inputs, weights = rng.standard_normal((4, 5, 3)), rng.standard_normal(3)
    is_there = np.arange(5) < np.array([[5], [3], [5], [2]])
    is_right = np.arange(5) == np.array([[0], [2], [4], [1]])
    value, gradient = loss(weights, inputs, is_there, is_right, 0.5)
    for index in range(3):
        moved = weights.copy()
        moved[index] += 1e-6
        assert (loss(moved, inputs, is_there, is_right, 0.5)[0] - value) / 1e-6 == pytest.approx(
            gradient[index], abs=1e-4
        )
