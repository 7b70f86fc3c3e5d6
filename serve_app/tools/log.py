"""What the tools were given and gave, kept only where the operator says so (`tools.logs`)."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from configs.settings import ToolSettings

logger = logging.getLogger("segue.tools")


class ToolLog:
    """A folder for each request, whose name has nothing of the client's; nothing at all where it is off. A log that
    cannot be written fails no request."""

    def __init__(self, settings: ToolSettings) -> None:
        self._folder = Path(settings.logs_folder) if settings.logs else None

    async def keep(
        self,
        tool: str,
        request_id: str,
        said: Mapping[str, Any],
        *,
        given: Path | None = None,
        made: bytes | None = None,
    ) -> None:
        """`said` is the request's and the answer's words, `given` the file that came, `made` a WAV that went."""
        if self._folder is not None:
            await asyncio.to_thread(self._keep, self._folder, tool, request_id, said, given, made)

    def _keep(
        self,
        root: Path,
        tool: str,
        request_id: str,
        said: Mapping[str, Any],
        given: Path | None,
        made: bytes | None,
    ) -> None:
        folder = root / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{tool}-{secrets.token_hex(4)}"
        try:
            folder.mkdir(parents=True)
            (folder / "request.json").write_text(json.dumps({"request_id": request_id, **said}, indent=2))
            if given is not None:
                shutil.copyfile(given, folder / "input")
            if made is not None:
                (folder / "output.wav").write_bytes(made)
        except OSError as error:
            logger.warning("%s is not logged: %r", tool, error)
