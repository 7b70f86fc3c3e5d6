"""Files from a hub into the cache: whole, in pieces, and what is said where it cannot be."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from huggingface_hub import hf_hub_download, try_to_load_from_cache

from deployments.engines.common.hub.download import PAUSES_S
from deployments.engines.common.hub.errors import HubError
from deployments.engines.common.hub.fetch import Progress, fetch, is_cached
from deployments.engines.common.hub.needs import Read, Repository, Weights
from tests.hub.server import Fault, Hub
from tests.support.patience import PATIENCE_S

NAME = "some/model"
BIG = secrets.token_bytes(3 * 2**20 + 17)


def _repositories(read: Read) -> Iterator[Repository]:
    yield Repository(NAME, (("config.json",), ("model.safetensors", "model.bin")), ("words.txt",))


MODEL = Weights("model", _repositories)


@pytest.fixture(autouse=True)
def files(hub: Hub) -> None:
    hub.repositories[NAME] = {"config.json": b"{}", "model.bin": BIG, "README.md": b"not needed"}


class Seen(NamedTuple):
    progress: list[Progress]
    pauses_s: list[float]


def fetched(model: Weights = MODEL) -> Seen:
    seen = Seen([], [])
    fetch([model], seen.progress.append, seen.pauses_s.append)
    return seen


def content(file: str = "model.bin") -> bytes:
    path = try_to_load_from_cache(NAME, file)
    assert isinstance(path, str)
    return Path(path).read_bytes()


def blobs(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / "models--some--model" / "blobs").iterdir())


def test_what_is_needed_is_fetched_and_nothing_else(hub: Hub, tmp_path: Path) -> None:
    assert not is_cached(MODEL)
    seen = fetched()
    assert (content("config.json"), content()) == (b"{}", BIG)
    assert is_cached(MODEL)
    assert hub.downloads("README.md") == []
    assert seen.progress[-1] == Progress(len(BIG) + 2, len(BIG) + 2)
    done = [progress.done_bytes for progress in seen.progress]
    assert done == sorted(done)
    assert len(blobs(tmp_path)) == 2


def test_what_is_cached_asks_no_network(hub: Hub) -> None:
    fetched()
    hub.requests.clear()
    assert fetched() == Seen([], [])
    assert hub.requests == []


def test_what_the_hubs_own_client_fetched_is_found(hub: Hub) -> None:
    for file in ("config.json", "model.bin"):
        hf_hub_download(NAME, file)
    hub.requests.clear()
    fetched()
    assert hub.requests == []


def test_the_hubs_own_client_finds_what_was_fetched(hub: Hub) -> None:
    fetched()
    hub.requests.clear()
    assert Path(hf_hub_download(NAME, "model.bin")).read_bytes() == BIG
    assert hub.downloads("model.bin") == []


@pytest.mark.parametrize("fault", [Fault.CUT, Fault.RESET])
def test_a_broken_connection_is_continued_where_it_broke(hub: Hub, fault: Fault) -> None:
    hub.fail(fault, times=2, only="model.bin")
    seen = fetched()
    assert content() == BIG
    first, *others = hub.downloads("model.bin")
    assert first is None
    assert len(others) == 2
    assert all(given is not None and int(given[len("bytes=") : -1]) > 0 for given in others)
    assert seen.pauses_s == [1.0, 1.0]  # each try brought something


def test_a_connection_that_always_breaks_gets_there(hub: Hub) -> None:
    hub.fail(Fault.CUT, only="model.bin")
    fetched()
    assert content() == BIG


def test_a_killed_download_is_continued_and_leaves_nothing(hub: Hub, tmp_path: Path) -> None:
    hub.pause_s = 0.05
    environ = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(tmp_path / "cache")}
    code = "from tests.hub.test_fetch import MODEL, fetch; fetch([MODEL])"
    process = subprocess.Popen([sys.executable, "-c", code], env=environ)
    try:
        for _ in range(int(PATIENCE_S * 100)):
            parts = list((tmp_path / "cache").glob("*/blobs/*.incomplete"))
            if parts and parts[0].stat().st_size > 2**20:
                break
            assert process.poll() is None
            hub.released.wait(0.01)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    (part,) = (tmp_path / "cache").glob("*/blobs/*.incomplete")
    have = part.stat().st_size
    part.with_name(part.name.replace(".incomplete", ".0123abcd.incomplete")).write_bytes(
        b"the hub's client's"
    )
    hub.pause_s = 0.0
    hub.requests.clear()
    fetched()
    assert content() == BIG
    assert hub.downloads("model.bin") == [f"bytes={have}-"]
    assert [path.suffix for path in blobs(tmp_path)] == ["", ""]


def test_damaged_content_is_never_kept(hub: Hub, tmp_path: Path) -> None:
    hub.fail(Fault.DAMAGED, times=1, only="model.bin")
    fetched()
    assert content() == BIG
    hub.fail(Fault.DAMAGED, only="model.bin")
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(HubError, match="damaged"):
        fetched()
    assert not is_cached(MODEL)


@pytest.mark.parametrize(
    ("fault", "sentence", "may_pass"),
    [
        (Fault.UNAUTHORIZED, "the name is wrong", False),
        (Fault.FORBIDDEN, "the name is wrong, the repository is private, or HF_TOKEN", False),
        (Fault.GATED, "accept them on its page, then set HF_TOKEN", False),
        (Fault.MISSING_FILE, "has no file config.json", False),
        (Fault.LIMITED, "limits requests from here: wait a few minutes", True),
        (Fault.UNAVAILABLE, "has a fault \\(status 503\\): try again later", True),
        (Fault.SILENT, "does not answer .*: check the network and the proxy", True),
        (Fault.PORTAL, "is not a hub: check HF_ENDPOINT, the proxy, or sign in", True),
    ],
)
def test_each_fault_has_a_sentence_that_says_what_to_do(
    hub: Hub, fault: Fault, sentence: str, may_pass: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployments.engines.common.hub.download.PAUSES_S", (1.0, 2.0))
    hub.fail(fault)
    seen = Seen([], [])
    with pytest.raises(HubError, match=sentence) as raised:
        fetch([MODEL], seen.progress.append, seen.pauses_s.append)
    assert raised.value.may_pass is may_pass
    assert "\n" not in str(raised.value)
    assert hub.url not in str(raised.value)
    if fault is Fault.LIMITED:
        assert seen.pauses_s == [7.0, 7.0]  # as the hub asks
    else:
        assert seen.pauses_s == ([1.0, 2.0] if may_pass else [])


def test_the_pauses_grow_and_say_what_for(hub: Hub) -> None:
    hub.fail(Fault.UNAVAILABLE, times=3)
    seen = fetched()
    assert content() == BIG
    assert seen.pauses_s == [1.0, 2.0, 4.0]
    troubles = [progress.trouble for progress in seen.progress if progress.trouble]
    assert troubles[-1] == "the hub has a fault (status 503): try again later; trying again in 4 s"
    assert list(PAUSES_S) == sorted(PAUSES_S)


def test_a_repository_that_is_not_there(hub: Hub) -> None:
    del hub.repositories[NAME]
    with pytest.raises(HubError, match="the hub has no some/model: the name is wrong, or"):
        fetched()


def test_no_network(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        "http://127.0.0.1:1/{repo_id}/resolve/{revision}/{filename}",
    )
    with pytest.raises(HubError, match="cannot be reached: check the network"):
        fetched()


def test_a_full_disk_is_seen_before_anything_is_downloaded(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")._replace(free=2**20)
    monkeypatch.setattr("deployments.engines.common.hub.download.shutil.disk_usage", lambda _: usage)
    with pytest.raises(HubError, match=r"the disk is full: model\.bin of some/model does not fit") as raised:
        fetched()
    assert not raised.value.may_pass
    assert hub.downloads("model.bin") == []


def test_offline_says_so_at_once(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE forbids"):
        fetched()
    assert hub.requests == []
