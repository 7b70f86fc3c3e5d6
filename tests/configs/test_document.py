from __future__ import annotations

from pathlib import Path

from configs.document import page
from configs.settings import Settings

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_page_of_settings_is_what_the_code_says() -> None:
    assert (DOCS / "configuration.md").read_text() == page(), (
        "python -m configs.document > docs/configuration.md"
    )


def test_every_setting_says_what_it_is() -> None:
    silent = [
        f"{section}.{name}"
        for section, field in Settings.model_fields.items()
        if hasattr(field.annotation, "model_fields")
        for name, each in field.annotation.model_fields.items()  # type: ignore[union-attr]
        if not each.description
    ]
    assert silent == []
