"""What the licences of models mean for a file that was made with them."""

from __future__ import annotations

import re
from collections.abc import Iterable

# CC-BY-NC and its kin, "non-commercial", "not for commercial use", "research only".
_NOT_COMMERCIAL = re.compile(r"\bNC\b|\bnon-?commercial|\bnot for commercial|\bresearch only", re.IGNORECASE)


def is_non_commercial(licence: str) -> bool:
    """Whether a licence's name says that commercial use is not allowed."""
    return _NOT_COMMERCIAL.search(licence) is not None


def licence_of_line(licences: Iterable[str]) -> str:
    """One line for a file: every licence once, sorted; one that is not commercial holds for the whole file."""
    names = sorted({licence.strip() for licence in licences if licence.strip()})
    line = ", ".join(names)
    return f"{line} (not for commercial use)" if any(map(is_non_commercial, names)) else line
