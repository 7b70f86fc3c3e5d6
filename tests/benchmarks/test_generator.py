from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from benchmarks.generator import concurrent_takes as generator_company
from benchmarks.generator import models as generator_models
from benchmarks.generator import prefill as generator_prefill
from benchmarks.generator import steps as generator_steps
from benchmarks.generator.batch import Wish
from benchmarks.generator.engines import SEGUE, Field
from benchmarks.generator.findings import Findings
from benchmarks.kit.turns import take_turns, times_faster
from deployments.engines.music.audiocraft.importing import import_audiocraft
from deployments.engines.music.audiocraft.quiet import quietly
from deployments.engines.music.batching.linear import Precision
from tests.deployments.engines.music.models import Shape

FRAMES = 20


@pytest.fixture(scope="module", params=[False, True], ids=["text", "melody"])
def field(request: pytest.FixtureRequest) -> Iterator[Field]:
    """All engines on a model as small as it can be."""
    threads = torch.get_num_threads()
    import_audiocraft()
    with pytest.MonkeyPatch.context() as patch, quietly():
        patch.setitem(generator_models.SHAPES, "mini", Shape(card=300, prepends=request.param))
        with Field.of("mini", torch.device("cpu")) as field:
            yield field
    torch.set_num_threads(threads)


@pytest.mark.torch
class TestField:
    def test_all_do_the_same_work(self, field: Field) -> None:
        """Greedy, so that a token that differs would show."""
        expected = field.audiocraft.generate(FRAMES, greedy=True)[0]
        ours = field.segue[Precision.FLOAT32].generate([Wish(FRAMES)], greedy=True)
        assert torch.equal(ours.tokens[0], expected)
        if not field.model.prepends:
            assert field.transformers is not None
            assert torch.equal(field.transformers.generate(FRAMES, greedy=True)[0], expected)

    def test_takes_in_company_are_all_made(self, field: Field) -> None:
        wishes = [Wish(5, 0), Wish(9, 2), Wish(3, 4), Wish(7, 500)]
        outcome = field.segue[Precision.FLOAT32].generate(wishes)
        assert [tokens.shape[1] for tokens in outcome.tokens] == [5, 9, 3, 7]
        needed = [field.model.kv_bytes(wish.frames, torch.float32) for wish in wishes]
        assert max(needed) < outcome.peak.kv_bytes <= sum(needed[:3])

    @pytest.mark.parametrize("field", [False], indirect=True, ids=["text"])
    def test_every_measurement_has_its_rows(self, field: Field) -> None:
        """Of the model in all three engines; the other one is measured by the same code."""
        findings = Findings()
        generator_steps.measure(field, findings, rounds=1, frames=3, deep_steps=3)
        generator_company.measure(field, findings, rounds=1, frames=range(8, 16), apart_steps=0)
        generator_prefill.measure(field, findings, rounds=1, prompt_s=1)
        tables = {table.name: table for table in findings.tables()}
        assert {"step", "bandwidth", "company", "memory", "prefill"} == set(tables)
        segue = [row for row in tables["memory"].rows if row["engine"] == SEGUE]
        assert {row["format"] for row in segue} == set(field.segue)
        assert all(row["ratio"] == 1.0 for row in segue)


def test_rounds_go_to_and_fro() -> None:
    heard: list[str] = []

    def contestant(name: str) -> float:
        heard.append(name)
        return float(len(heard))

    said = take_turns({name: lambda name=name: contestant(name) for name in "ab"}, rounds=3)
    assert "".join(heard) == "abbaab"
    assert said == {"a": [1.0, 4.0, 5.0], "b": [2.0, 3.0, 6.0]}


def test_ratio_is_that_of_the_rounds() -> None:
    assert times_faster([2.0, 30.0, 4.0], [1.0, 10.0, 1.0]) == 3.0
