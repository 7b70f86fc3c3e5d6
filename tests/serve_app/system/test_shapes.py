"""The answers about models and capacity, whole: clients rely on every field."""

from __future__ import annotations

from typing import Any

from deployments.engines.analysis.mock import MockAnalyser
from deployments.engines.music.mock import MockEngine
from deployments.engines.separation.mock import MockSeparator
from tests.support.harness import running

READY = {"status": "ready", "replicas": 1}
STATE = {**READY, "detail": "", "done_bytes": 0, "total_bytes": 0}
MOCK = {"name": "mock", "engine": "mock", "licence": "MIT", **STATE}


async def answers(*paths: str, all_families: bool = True) -> list[Any]:
    more: dict[str, Any] = (
        {"separators": {"mock": MockSeparator(), "tiny": MockSeparator()}, "analyser": MockAnalyser()}
        if all_families
        else {}
    )
    engines = {"mock": MockEngine(), "tiny-melody": MockEngine()}
    async with running(engines, work=False, **more) as app:
        return [(await app.http.get(path)).json() for path in paths]


async def test_models() -> None:
    (models,) = await answers("/v1/models")
    assert models == {
        "models": [
            {
                **MOCK,
                "sample_rate_hz": 32_000,
                "channels": 1,
                "modes": ["text", "continue", "compose", "melody"],
                "description": "No model: plays the source's end again, at once",
                "default": True,
            },
            {
                **MOCK,
                "name": "tiny-melody",
                "engine": "segue",
                "sample_rate_hz": 32_000,
                "channels": 1,
                "modes": ["text", "continue", "compose", "melody"],
                "description": "As tiny, with melody conditioning",
                "default": False,
            },
        ],
        "separators": [
            {
                **MOCK,
                "sample_rate_hz": 44_100,
                "channels": 2,
                "sources": ["drums", "bass", "other", "vocals"],
                "networks": 0,
                "description": "No model: every source gets a fixed share of the mixture",
                "default": True,
            },
            {
                **MOCK,
                "name": "tiny",
                "engine": "demucs",
                "sample_rate_hz": 44_100,
                "channels": 2,
                "sources": ["drums", "bass", "other", "vocals"],
                "networks": 1,
                "description": "Pseudo-random weights: noise, from the real HTDemucs code",
                "default": False,
            },
        ],
        "analyser": {**MOCK, "description": "No listening: fixed answers for every clip"},
    }


async def test_health_and_capacity() -> None:
    health, gpu = await answers("/health", "/v1/gpu")
    assert health == {
        "ok": True,
        "status": "ready",
        "storage": {"status": "ready", "reason": None},
        "gpu": False,
        "gpu_id": None,
        "model": "mock",
        "models": {"mock": READY, "tiny-melody": READY},
        "separators": {"mock": READY, "tiny": READY},
        "analyser": READY,
    }
    assert gpu == {
        "gpus_total": 0.0,
        "gpus_free": 0.0,
        "gpu_id": None,
        "deployments": {},
        "jobs": {"unfinished": 0, "waiting": None},
    }


async def test_config() -> None:
    (config,) = await answers("/v1/config")
    assert {key: type(value).__name__ for key, value in config.items()} == {
        "profile": "str",
        "models": "list",
        "default_model": "str",
        "generation": "dict",
        "chains": "dict",
        "uploads": "dict",
        "separators": "list",
        "default_separator": "str",
        "analyser": "str",
        "automatic_analysis": "bool",
        "tools": "dict",
        "process": "dict",
        "export": "dict",
        "jobs": "dict",
        "events": "dict",
    }
    assert (config["models"], config["default_model"]) == (["mock", "tiny-melody"], "mock")
    assert (config["separators"], config["default_separator"]) == (["mock", "tiny"], "mock")
    assert (config["analyser"], config["automatic_analysis"]) == ("mock", True)
    process = config["process"]
    assert process["model"] == "mock"
    assert process["models"] == [
        {
            "name": name,
            "engine": engine,
            "licence": "MIT",
            "sample_rate_hz": 44_100,
            "channels": 2,
            "sources": ["drums", "bass", "other", "vocals"],
            "networks": networks,
            "description": description,
        }
        for name, engine, networks, description in (
            ("mock", "mock", 0, "No model: every source gets a fixed share of the mixture"),
            ("tiny", "demucs", 1, "Pseudo-random weights: noise, from the real HTDemucs code"),
        )
    ]


async def test_without_separators_and_analyser() -> None:
    models, health, config = await answers("/v1/models", "/health", "/v1/config", all_families=False)
    assert (models["separators"], models["analyser"]) == ([], None)
    assert (health["separators"], health["analyser"]) == ({}, None)
    assert (config["separators"], config["default_separator"], config["process"]["models"]) == ([], None, [])
    assert (config["analyser"], config["automatic_analysis"]) == (None, False)
