"""What the generator's benchmark has found so far: rows of several tables, and targets that are met or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.kit.tables import Row, Table


@dataclass(frozen=True, slots=True)
class Head:
    """A table without its rows."""

    name: str
    title: str
    note: str


@dataclass(frozen=True, slots=True)
class Target:
    what: str
    wanted: str
    measured: float
    is_met: bool
    remark: str = ""

    @classmethod
    def at_least(cls, what: str, wanted: float, measured: float, remark: str = "") -> Target:
        return cls(what, f"at least {wanted:g}", measured, measured >= wanted, remark)

    @classmethod
    def at_most(cls, what: str, wanted: float, measured: float, remark: str = "") -> Target:
        return cls(what, f"at most {wanted:g}", measured, measured <= wanted, remark)

    def row(self) -> Row:
        return {
            "target": self.what,
            "wanted": self.wanted,
            "measured": self.measured,
            "": "met" if self.is_met else "not met",
            "remark": self.remark,
        }


_TARGETS = Head("targets", "Targets", "From the tables below, for a CPU.")


@dataclass(slots=True)
class Findings:
    rows: dict[Head, list[Row]] = field(default_factory=dict)
    targets: list[Target] = field(default_factory=list)

    def add(self, head: Head, *rows: Row) -> None:
        self.rows.setdefault(head, []).extend(rows)

    def tables(self) -> list[Table]:
        """Targets first, then the tables in the order in which they were begun."""
        heads = {_TARGETS: [target.row() for target in self.targets], **self.rows}
        return [_table(head, rows) for head, rows in heads.items() if rows]


def _table(head: Head, rows: Sequence[Row]) -> Table:
    return Table(head.name, head.title, head.note, rows)
