"""What is said of melodies follows from what was heard."""

from __future__ import annotations

from pathlib import Path

from benchmarks.analysis.melody import MELODY, Heard, measure
from benchmarks.generator.findings import Findings
from training.corpus.clips import Clip
from training.corpus.music import Truth

TRUE_HZ = (None, 220.0, 220.0, 440.0, 440.0)


def heard(stratum: str, ours: tuple[float | None, ...], librosas: tuple[float | None, ...]) -> Heard:
    truth = Truth(120.0, True, 4, (), (), "C major", 0.0, TRUE_HZ)
    return Heard(Clip(0, stratum, "none", Path("none.flac"), truth), "crepe", TRUE_HZ, ours, librosas)


def test_tables_and_targets_follow_from_what_was_heard() -> None:
    findings = Findings()
    mixed = heard("drums", (330.0, 221.0, 219.0, 440.0, None), (None, 110.0, 110.0, 440.0, 440.0))
    alone = heard("drums", (None, 220.0, 330.0, 330.0, 330.0), (None, 220.0, 220.0, 440.0, 440.0))
    measure(findings, [mixed], [alone])
    rows = {row["clips"]: row for row in findings.rows[MELODY]}
    assert set(rows) == {"mixes", "mixes: drums", "alone"}
    assert str(rows["mixes"]["pitch"]).startswith("0.750")
    assert str(rows["mixes"]["pitch, librosa"]).startswith("0.500")
    assert str(rows["mixes"]["any octave, librosa"]).startswith("1.000")
    assert str(rows["alone"]["pitch"]).startswith("0.250")
    targets = {target.what: target.is_met for target in findings.targets}
    assert targets == {
        "melody in mixes: pitch accuracy above librosa's by": True,
        "melody alone: pitch accuracy above librosa's by": False,
    }
