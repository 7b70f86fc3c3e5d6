"""What follows from a row of the table of families, for every row alike."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from configs.environment import load_settings
from configs.settings import Settings
from deployments.engines.common.errors import EngineBroken, UnknownModel
from deployments.engines.families import (
    FAMILIES,
    GENERATOR,
    SEPARATOR,
    Family,
    ServedModel,
    of_family,
    require_distinct,
    served_models,
)

SERVED = {
    "models": {"served": ["mock", "facebook/musicgen-small"], "engine": "audiocraft"},
    "separation": {"served": ["mock", "tiny"], "batch": 7},
    "analysis": {"served": "mock"},
}


def settings(**changes: Any) -> Settings:
    return load_settings({**SERVED, **changes}, environ={})


def test_models_are_served_by_family_the_default_under_its_familys_name() -> None:
    assert [(model.entry.name, model.deployment) for model in served_models(settings())] == [
        ("mock", "Generator"),
        ("facebook/musicgen-small", "Generator-facebook-musicgen-small"),
        ("mock", "Separator"),
        ("tiny", "Separator-tiny"),
        ("mock", "Analyser"),
    ]


def test_a_family_of_which_nothing_is_served_has_no_model() -> None:
    models = served_models(settings(separation={"served": []}, analysis={"served": None}))
    assert {model.family.name for model in models} == {"Generator"}


def test_settings_reach_the_entry_and_the_options() -> None:
    generators = of_family(GENERATOR, served_models(settings()))
    assert [model.entry.engine for model in generators] == ["mock", "audiocraft"]
    options = SEPARATOR.options(settings(), 0.25)
    assert (options.batch, options.gpu_memory_fraction) == (7, 0.25)


def test_a_served_model_is_the_same_in_another_process() -> None:
    for model in served_models(settings()):
        copy: ServedModel[Any] = pickle.loads(pickle.dumps(model))
        assert copy == model
        assert copy.family is model.family


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
async def test_an_engine_is_loaded_by_its_family_and_broken_once_it_is_closed(
    family: Family[Any, Any, Any], tmp_path: Path
) -> None:
    (model,) = (each for each in of_family(family, served_models(settings())) if each.entry.name == "mock")
    assert model.weights() is None
    engine = model.load(settings(models={"served": ["mock"], "cache_dir": str(tmp_path)}))
    await engine.warm_up()
    await engine.check_health()
    assert (await engine.info()).model == "mock"
    await engine.close()
    with pytest.raises(EngineBroken):
        await engine.check_health()


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_an_unknown_name_is_answered_with_the_nearest(family: Family[Any, Any, Any]) -> None:
    with pytest.raises(
        UnknownModel, match=r"^There is no \w+ 'mok'\. Did you mean 'mock'\? Known are mock, "
    ):
        family.find("mok", settings())


@pytest.mark.parametrize("names", [("tiny", "tiny"), ("local/my-model", "local/my_model")])
def test_models_that_cannot_be_told_apart_are_refused(names: tuple[str, str]) -> None:
    with pytest.raises(UnknownModel, match="cannot be told apart"):
        require_distinct(names)
