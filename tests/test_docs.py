"""The documentation beside the code: its links lead somewhere, and what it names is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.domain.jobs import JobKind

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "storage" / "FORMAT.md",
    ROOT / "benchmarks" / "README.md",
    *ROOT.glob("docs/*.md"),
]


def _links(page: Path) -> Iterator[str]:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" not in target and not target.startswith("#"):
            yield target.partition("#")[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    assert [target for target in _links(page) if not (page.parent / target).exists()] == []


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_make_targets_that_the_docs_name_exist() -> None:
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        name
        for page in PAGES
        for name in re.findall(
            r"(?:`|^)(?:[A-Z]+=\S+ )*make ([a-z][a-z0-9-]*)", page.read_text(), re.MULTILINE
        )
    }
    assert named - targets == set()


def test_the_map_names_every_folder() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    folders = [
        folder
        for top in ("configs", "storage", "deployments", "serve_app", "segue_client", "training")
        for folder in [ROOT / top, *(each.parent for each in (ROOT / top).glob("*/__init__.py"))]
    ]
    assert [folder.name for folder in folders if folder.name not in text] == []


def test_the_format_names_every_kind_of_job() -> None:
    text = (ROOT / "storage" / "FORMAT.md").read_text()
    [row] = re.findall(r"^\| `kind` \| (.*) \|$", text, re.MULTILINE)
    assert {name.strip("` ") for name in row.split(",")} == {kind.value for kind in JobKind}
