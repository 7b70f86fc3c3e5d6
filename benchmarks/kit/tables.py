"""Tables: the rows that a measurement gives, as JSON and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Value = str | int | float
Row = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows with the same columns, units in their names. `note` says how to read them."""

    name: str
    title: str
    note: str
    rows: Sequence[Row]

    def as_json(self) -> dict[str, object]:
        return {
            "title": self.title,
            "note": self.note,
            "rows": [{column: _plain(value) for column, value in row.items()} for row in self.rows],
        }

    def as_markdown(self) -> str:
        columns = list(self.rows[0])
        lines = [
            f"## {self.title}",
            "",
            self.note,
            "",
            _line(columns),
            _line(["---" if isinstance(self.rows[0][column], str) else "---:" for column in columns]),
            *(_line([shown(row[column]) for column in columns]) for row in self.rows),
        ]
        return "\n".join(lines) + "\n"


def shown(value: Value) -> str:
    """A number with three significant digits, or all before the point."""
    if not isinstance(value, float):
        return str(value)
    if math.isnan(value):
        return "–"
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{digits}f}"


def _plain(value: Value) -> Value | None:
    """JSON has no NaN; nothing needs more than four digits after the point."""
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 4)
    return value


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
