"""Logging of Segue's own loggers (`segue.*`): one handler on stderr, which Serve keeps with the replica's log."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from configs.settings import Settings
from deployments.telemetry.context import current_ids

ROOT = "segue"
ACCESS = "segue.access"


class JsonFormatter(logging.Formatter):
    """One JSON object a line, with the ids of the work in hand (`telemetry.context`)."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **current_ids(),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False, default=str)


def configure_logging(settings: Settings) -> None:
    """Set up `segue.*` in this process; again is no change. Lines of the access log are JSON already."""
    _handle(ROOT, JsonFormatter(), settings.log_level)
    _handle(ACCESS, logging.Formatter("%(message)s"), settings.log_level)


def _handle(name: str, formatter: logging.Formatter, level: str) -> None:
    logger = logging.getLogger(name)
    logger.setLevel(level)
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(formatter)
        logger.addHandler(handler)
        logger.propagate = False
