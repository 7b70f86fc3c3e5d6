"""`python -m tests.page.api_types` (`make page-types`): TypeScript types of the API's schemas, made
from `openapi.json` for the page."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from deployments.engines.music.mock import MockEngine
from tests.support.harness import running

TARGET: Final = Path(__file__).parents[2] / "page" / "src" / "api" / "schema.ts"

ROOTS: Final = (
    "ChainView",
    "ChainListView",
    "SpineView",
    "NodeView",
    "BranchView",
    "NewNodes",
    "NewChain",
    "NewExport",
    "NewStems",
    "CropView",
    "DiffView",
    "AnalysisView",
    "StemsView",
    "AcceptedView",
    "JobView",
    "JobListView",
    "ModelListView",
    "ManifestView",
    "OutputsView",
    "ProcessAcceptedView",
    "Problem",
)
"""What the page uses; what these refer to comes along."""

HEAD: Final = "// Made from openapi.json by `make page-types`; not edited by hand.\n"
_REFERENCE: Final = "#/components/schemas/"
_SIMPLE: Final = {
    "string": "string",
    "integer": "number",
    "number": "number",
    "boolean": "boolean",
    "null": "null",
}


def typescript(document: Mapping[str, Any]) -> str:
    """The module: an exported type for each schema that `ROOTS` reach, by name."""
    schemas = document["components"]["schemas"]
    wanted: dict[str, str] = {}
    waiting = list(ROOTS)
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted[name] = _type(schemas[name])
            waiting += re.findall(r"\b_ref_(\w+)", wanted[name])
    lines = [f"export type {name} = {wanted[name].replace('_ref_', '')};" for name in sorted(wanted)]
    return HEAD + "\n".join(lines) + "\n"


def _type(schema: Mapping[str, Any]) -> str:
    match schema:
        case {"$ref": reference}:
            return f"_ref_{reference.removeprefix(_REFERENCE)}"
        case {"enum": values} | {"const": values}:
            return " | ".join(_literal(value) for value in (values if isinstance(values, list) else [values]))
        case {"anyOf": options} | {"oneOf": options}:
            return " | ".join(dict.fromkeys(_type(option) for option in options))
        case {"allOf": parts}:
            return " & ".join(_type(part) for part in parts)
        case {"type": "array"}:
            items = _type(schema.get("items", {}))
            return f"({items})[]" if " " in items else f"{items}[]"
        case {"type": "object"}:
            return _object(schema)
        case {"type": str(kind)}:
            return _SIMPLE[kind]
    return "unknown"


def _object(schema: Mapping[str, Any]) -> str:
    if "properties" not in schema:
        values = schema.get("additionalProperties", True)
        return f"Record<string, {_type(values) if isinstance(values, Mapping) else 'unknown'}>"
    required = schema.get("required", ())
    fields = [
        f"  {name}{'' if name in required else '?'}: {_type(value)};"
        for name, value in schema["properties"].items()
    ]
    return "{\n" + "\n".join(fields) + "\n}"


def _literal(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower()


async def document() -> dict[str, Any]:
    """The OpenAPI document of the application."""
    async with running({"mock": MockEngine()}, work=False) as app:
        answer = await app.http.get("/openapi.json")
        made: dict[str, Any] = answer.json()
        return made


if __name__ == "__main__":
    TARGET.write_text(typescript(asyncio.run(document())))
