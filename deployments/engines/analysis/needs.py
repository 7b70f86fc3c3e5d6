"""What an analyser needs from the hub."""

from __future__ import annotations

from deployments.engines.analysis.catalog import AnalyserEntry
from deployments.engines.common.hub.needs import WEIGHT_FILES, Repository, Weights


def of_analyser(entry: AnalyserEntry) -> Weights | None:
    """None where nothing is from the hub."""
    if entry.weights is None:
        return None
    tokenizer = ("vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json")
    repository = Repository(
        entry.weights,
        (("config.json",), ("preprocessor_config.json",), ("tokenizer.json", "vocab.json"), WEIGHT_FILES),
        ("tokenizer.json", *tokenizer),
    )
    return Weights(entry.name, lambda read: iter((repository,)))
