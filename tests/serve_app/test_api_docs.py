"""The page at /docs needs no other host."""

from __future__ import annotations

import re
from urllib.parse import urljoin

import httpx
import pytest
from fastapi import FastAPI

from configs.environment import load_settings
from deployments.engines.music.mock import MockEngine
from serve_app.musicgen_service import create_service
from tests.support.harness import problem, running

_LINK = re.compile(r'(?:src|href)="([^"]+)"')


async def require_own_page(http: httpx.AsyncClient, url: str) -> None:
    """The page, and all that it loads, come from the same host, below the page's own prefix."""
    page = await http.get(url)
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "http" not in policy
    assert not re.search(r"<script>|<style>", page.text)  # the policy forbids inline scripts
    links = [link for link in _LINK.findall(page.text) if not link.startswith("data:")]
    assert len(links) == 3
    (start,) = (link for link in links if link.endswith("start.js"))
    script = (await http.get(urljoin(url, start))).text
    (document,) = re.findall(r'url: "([^"]+)"', script)
    for link in (*links, document):
        assert not re.match(r"[a-z]+:|/", link), link
        answer = await http.get(urljoin(url, link))
        assert answer.status_code == 200, link
    for link in links:
        kind = "text/css" if link.endswith(".css") else "text/javascript"
        assert (await http.get(urljoin(url, link))).headers["content-type"].startswith(kind)
    assert (await http.get(urljoin(url, document))).json()["openapi"].startswith("3.1")


async def test_the_page_refers_to_no_other_host() -> None:
    async with running({"mock": MockEngine()}, work=False) as app:
        await require_own_page(app.http, "/docs")
        assert (await app.http.head("/docs")).status_code == 200
        for nothing in ("/docs/favicon.png", "/docs/..%2Fcore.py", "/redoc"):
            problem(await app.http.get(nothing), 404)


async def test_it_works_behind_a_prefix() -> None:
    async with running({"mock": MockEngine()}, work=False) as app:
        outer = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        outer.mount("/music/segue", app.api)
        transport = httpx.ASGITransport(outer)
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as http:
            await require_own_page(http, "/music/segue/docs")


@pytest.mark.parametrize("path", ["/docs"])
async def test_the_service_of_one_model_has_it_too(path: str) -> None:
    settings = load_settings({"http": {"allowed_hosts": ["testserver"]}}, environ={"SEGUE": "tests"})
    transport = httpx.ASGITransport(create_service("mock", -1, settings))
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as http:
        await require_own_page(http, path)
        document = (await http.get("/openapi.json")).json()
    continued = document["paths"]["/continue"]["post"]["responses"]
    assert continued["422"]["content"].keys() == {"application/problem+json"}
    assert "Problem" in document["components"]["schemas"]
