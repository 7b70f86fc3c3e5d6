from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from deployments.engines.common.describe import HIDDEN, Described, plain
from deployments.engines.common.device import Device


@dataclass(frozen=True, slots=True)
class Inner:
    share: float
    names: tuple[str, ...] = ("a", "b")


@dataclass(frozen=True, slots=True)
class Outer(Described):
    device: Device
    inner: tuple[Inner, ...]
    by_name: dict[str, float]
    folder: Path | None = field(default=None, metadata=HIDDEN)


SHOWN = Outer(Device.CPU, (Inner(0.123456),), {"x": 1.98765}, Path("/srv/secret"))


def test_all_that_is_shown_is_jsons_own_kinds_of_values_and_what_is_hidden_is_not_there() -> None:
    described = SHOWN.describe()
    assert described == {
        "device": "cpu",
        "inner": [{"share": 0.123456, "names": ["a", "b"]}],
        "by_name": {"x": 1.98765},
    }
    assert type(described["device"]) is str
    assert json.loads(json.dumps(described)) == described


def test_floats_are_rounded_where_that_is_asked_for() -> None:
    assert plain(SHOWN, digits=2)["inner"] == [{"share": 0.12, "names": ["a", "b"]}]
    assert plain(SHOWN, digits=2)["by_name"] == {"x": 1.99}
