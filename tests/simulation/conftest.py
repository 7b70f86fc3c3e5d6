"""`pytest tests/simulation --schedules 5000 --first 20000` plays those seeds instead of the usual few."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--schedules", type=int, default=None, help="how many seeds the simulation plays")
    parser.addoption("--first", type=int, default=None, help="the first of them")
