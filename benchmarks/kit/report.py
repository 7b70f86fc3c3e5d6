"""What a benchmark says at its end: tables for people, and the same for machines."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.kit.tables import Table


def options(program: str, description: str) -> argparse.ArgumentParser:
    """The options that every benchmark has: `quick` and `json`."""
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("--quick", action="store_true", help="few repetitions: shows that it works, no more")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write FILE, and the tables beside it as .md"
    )
    return parser


@dataclass(frozen=True, slots=True)
class Report:
    """`about` is what the run was made on."""

    title: str
    about: Mapping[str, str]
    tables: Sequence[Table]
    quick: bool

    def give(self, json_file: Path | None) -> None:
        """Print it, and write it to `json_file` and beside it."""
        markdown = self._as_markdown()
        print(markdown)
        if json_file is None:
            return
        result = {
            "quick": self.quick,
            "about": self.about,
            "tables": {table.name: table.as_json() for table in self.tables},
        }
        json_file.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
        json_file.with_suffix(".md").write_text(markdown)

    def _as_markdown(self) -> str:
        title = f"# {self.title}" + (" (quick: too few repetitions to compare)" if self.quick else "")
        facts = "\n".join(f"- {name}: {value}" for name, value in self.about.items())
        return "\n".join([title, "", facts, "", *(t.as_markdown() for t in self.tables)]).rstrip() + "\n"
