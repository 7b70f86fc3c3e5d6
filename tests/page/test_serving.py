"""The page over HTTP: its files, their headers, and what stands there where it was not built."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest
from fastapi import FastAPI

from deployments.engines.music.mock import MockEngine
from serve_app.studio.bundle import FOLDER, Bundle
from serve_app.studio.routes import install_studio
from tests.page.api_types import TARGET, document, typescript
from tests.support.harness import problem, running

ROOT = Path(__file__).parents[2]
LIMIT_BYTES = 60_000
_LINK = re.compile(r'(?:src|href)="([^"]+)"')


def links(page: str) -> list[str]:
    return [link for link in _LINK.findall(page) if not link.startswith("data:")]


async def require_whole_page(http: httpx.AsyncClient, url: str) -> None:
    page = await http.get(url, follow_redirects=True)
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["cache-control"] == "no-cache"
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert not re.search(r"<script>|<style>|style=", page.text)  # the policy forbids them
    found = links(page.text)
    assert len(found) == 2
    for link in found:
        assert not re.match(r"[a-z]+:|/", link), link
        asset = await http.get(urljoin(str(page.url), link))
        assert asset.status_code == 200
        assert "immutable" in asset.headers["cache-control"]
        kind = "text/css" if link.endswith(".css") else "text/javascript"
        assert asset.headers["content-type"].startswith(kind)


async def test_the_page_and_its_files() -> None:
    async with running({"mock": MockEngine()}, work=False) as app:
        await require_whole_page(app.http, "/")
        assert (await app.http.head("/")).status_code == 200
        (script,) = (link for link in links((await app.http.get("/")).text) if link.endswith(".js"))
        packed = await app.http.get(f"/{script}", headers={"Accept-Encoding": "gzip"})
        plain = await app.http.get(f"/{script}", headers={"Accept-Encoding": "identity"})
        assert packed.headers["content-encoding"] == "gzip"
        assert "content-encoding" not in plain.headers
        assert packed.content == plain.content  # httpx has unpacked it
        assert packed.headers["etag"] != plain.headers["etag"]
        for nothing in ("/page/index.html", "/page/nothing.js", "/page/..%2Fapi.py", "/page/"):
            problem(await app.http.get(nothing), 404)


async def test_it_works_behind_a_prefix() -> None:
    async with running({"mock": MockEngine()}, work=False) as app:
        outer = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        outer.mount("/music/segue", app.api)
        transport = httpx.ASGITransport(outer)
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as http:
            await require_whole_page(http, "/music/segue/")
            await require_whole_page(http, "/music/segue")


async def test_a_server_with_keys_gives_the_page_to_everybody() -> None:
    key = {"sha256": "0" * 64, "tenant": "one", "tier": "paid"}
    async with running({"mock": MockEngine()}, work=False, overrides={"access": {"keys": (key,)}}) as app:
        await require_whole_page(app.http, "/")
        problem(await app.http.get("/v1/chains"), 401)


async def test_without_a_bundle_the_root_says_how_to_build_it(tmp_path: Path) -> None:
    app = FastAPI()
    install_studio(app, Bundle(tmp_path / "nowhere"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://testserver") as http:
        page = await http.get("/")
    assert page.status_code == 200
    assert "make page" in page.text


@pytest.fixture
def unreachable(tmp_path: Path) -> Path:
    """A checkout whose npm reaches nothing, all else being installed. Its Python says what it would run."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path / name)
    sources = shutil.ignore_patterns("node_modules", ".*")
    shutil.copytree(ROOT / "page", tmp_path / "page", ignore=sources)
    (tmp_path / "serve_app").mkdir()
    tools = tmp_path / ".venv" / "bin"
    tools.mkdir(parents=True)
    for name in ("node", "npm"):
        (tools / name).symlink_to(Path(sys.prefix) / "bin" / name)
    python = tools / "python"
    python.write_text('#!/bin/sh\necho "Python runs: $*"\n')
    python.chmod(0o755)
    (wheel,) = re.findall(r"^NODE_WHEEL := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for stamp in (".installed", f".installed-node-{wheel}"):
        (tools.parent / stamp).touch()
    return tmp_path


def test_where_npm_reaches_nothing_it_runs_without_the_page(unreachable: Path) -> None:
    nested = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")
    environment = {
        **{name: value for name, value in os.environ.items() if name not in nested},
        "npm_config_registry": "http://127.0.0.1:9/",
        "npm_config_cache": str(unreachable / "cache"),
        "npm_config_fetch_retry_mintimeout": "1",
        "npm_config_fetch_retry_maxtimeout": "1",
    }

    def make(target: str) -> subprocess.CompletedProcess[str]:
        command = ["make", "--no-print-directory", target]
        return subprocess.run(command, cwd=unreachable, env=environment, capture_output=True, text=True)

    page = make("page")
    assert page.returncode != 0
    assert "ECONNREFUSED" in page.stderr
    run = make("run")
    assert run.returncode == 0, run.stderr
    assert "The studio page could not be built (page.log says why)" in run.stdout
    assert "Python runs: -m serve_app.run --end-with-parent configs/local.yaml" in run.stdout
    assert "ECONNREFUSED" in (unreachable / "page.log").read_text()
    assert Bundle(unreachable / "serve_app" / "page").index is None


def test_the_page_is_small() -> None:
    packed = {
        path.name: len(gzip.compress(path.read_bytes())) for path in FOLDER.glob("*") if path.suffix != ".gz"
    }
    assert {Path(name).suffix for name in packed} == {".html", ".js", ".css"}
    assert sum(packed.values()) <= LIMIT_BYTES, packed


def test_the_wheel_carries_the_page(tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(ROOT / "serve_app", source / "serve_app", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-q",
        "-w",
        tmp_path,
        source,
    ]
    subprocess.run(
        command, check=True, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}, capture_output=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "serve_app/page/index.html" in names
    assert any(re.fullmatch(r"serve_app/page/worklet-\w+\.js", name) for name in names)
    assert {f"serve_app/page/{path.name}" for path in FOLDER.iterdir()} <= set(names)


async def test_the_types_of_the_page_are_those_of_the_api() -> None:
    assert TARGET.read_text() == typescript(await document()), "the API has changed: `make page-types`"


def test_the_tools_are_pinned() -> None:
    package = json.loads((ROOT / "page" / "package.json").read_text())
    pins = {**package["dependencies"], **package["devDependencies"]}
    assert [name for name, version in pins.items() if not re.fullmatch(r"\d+\.\d+\.\d+", version)] == []


@pytest.mark.parametrize("folder", ["page/node_modules", "serve_app/page"])
def test_nothing_of_others_is_in_the_repository(folder: str) -> None:
    listed = subprocess.run(["git", "ls-files", folder], cwd=ROOT, capture_output=True, text=True, check=True)
    assert listed.stdout == ""
