"""What is said of a benchmark's clips follows from what was heard in them, and a judge learns what is right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.analysis.rhythm import BEATS, CONFIDENCE, TEMPO, Heard, measure
from benchmarks.generator.findings import Findings
from deployments.engines.analysis.analysis import Rhythm
from training.analysis import rhythm as train_rhythm
from training.analysis.rhythm import Case, Network, judge_of, train, validate
from training.corpus.clips import Clip
from training.corpus.music import Truth

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


def test_a_judge_learns_what_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """What no weighing of the features alone could tell."""
    rng = np.random.default_rng(1)
    cases = []
    for seed in range(160):
        features = rng.standard_normal((5, 6)).astype(np.float32)
        cases.append(Case(seed, features, np.arange(5) == np.abs(features[:, 2]).argmax()))
    monkeypatch.setattr(train_rhythm, "NETWORKS", 2)
    judge = train(cases)
    chances = judge.chances(list(cases[0].features))
    assert chances.sum() == pytest.approx(1)
    assert np.mean([case.is_right[judge.chances(list(case.features)).argmax()] for case in cases]) > 0.85
    assert validate(cases)["development"] > 0.6


def test_a_judge_says_what_its_networks_say_on_the_whole() -> None:
    networks = [Network(6).eval() for _ in range(3)]
    for network in networks:
        torch.nn.init.normal_(network.linear.weight)
    center, scale = np.arange(6, dtype=np.float32), np.full(6, 2.0, np.float32)
    features = np.random.default_rng(2).standard_normal((5, 6)).astype(np.float32)
    with torch.no_grad():
        scores = [network(torch.from_numpy((features - center) / scale)) for network in networks]
    chances = judge_of(networks, center, scale).chances(list(features))
    np.testing.assert_allclose(chances, torch.softmax(torch.stack(scores).mean(0), 0).numpy(), atol=1e-6)
