from __future__ import annotations

import os

# Two workers share two cores: a second thread of torch's or OpenBLAS's would wait for the other worker's, and a
# waiting one spins: solving a small system then takes minutes instead of milliseconds. It is read when numpy is
# imported; what tests start inherits it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

# How long an example takes says something about the machine, not about the code. The same code is asked the same
# examples, so that a change is not refused for what another one did; `make fuzz` goes on to look for others.
settings.register_profile("segue", deadline=None, derandomize=True, max_examples=50)
settings.register_profile("fuzz", deadline=None, max_examples=1000, print_blob=True)
settings.load_profile("segue")

SERVING = (
    "batching",
    "hub",
    "journey",
    "kills",
    "placement",
    "scheduling",
    "several",
    "song",
    "stop",
    "tools",
)
SERVED = ("tests/serve/chaos/test_run.py", *(f"tests/serve/test_{name}.py" for name in SERVING))
"""Tests that start servers; what else is in that folder is quick."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest piece of work first, so that it is not the last (see `ByFile`)."""
    items.sort(key=lambda item: not item.nodeid.startswith(SERVED))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return ByFile(config, log)


class ByFile(LoadScopeScheduling):
    """A file's tests stay with one worker, for their fixtures; all that start servers too, so that no two clusters
    are in each other's way."""

    def _split_scope(self, nodeid: str) -> str:
        return "served" if nodeid.startswith(SERVED) else nodeid.split("::", 1)[0]
