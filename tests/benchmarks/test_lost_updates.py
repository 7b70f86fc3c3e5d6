"""The figure of lost updates is counted, and would tell of one."""

from __future__ import annotations

import pytest

from benchmarks.storage.documents import PROCESSES, WRITERS
from benchmarks.storage.lost_updates import count
from benchmarks.storage.stores import Kind, place

TIMES = 10


@pytest.mark.parametrize("careless", [False, True])
def test_changes_are_lost_without_conditions_alone(careless: bool) -> None:
    with place(Kind.LOCAL_FOLDER) as where:
        made, found = count(where, PROCESSES, TIMES, careless=careless)
    assert made == WRITERS * TIMES
    assert (found < made) is careless
