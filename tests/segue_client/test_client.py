from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue_client import works
from segue_client.answers import (
    BadAnswer,
    Chain,
    Job,
    Node,
    NoSuchId,
    Rejected,
    Unreachable,
    WorkFailed,
    matching,
)
from segue_client.client import SegueClient
from segue_client.connection import ATTEMPTS
from segue_client.events import EventDecoder, LiveChain, LiveJobs, ServerEvent
from segue_client.peaks import read_peaks
from tests.segue_client.fake_segue import DROP, SONG, TAKE, FakeSegue, create_fake, frame, node, serving, song

Handler = Callable[[httpx.Request], httpx.Response]


class Pauses:
    """In the place of time.sleep: remembers, and does not wait."""

    def __init__(self) -> None:
        self.slept_s: list[float] = []

    def __call__(self, pause_s: float) -> None:
        self.slept_s.append(pause_s)


@pytest.fixture
def fake() -> FakeSegue:
    return FakeSegue()


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
def client(fake: FakeSegue, pauses: Pauses) -> Iterator[SegueClient]:
    with serving(create_fake(fake)) as url, SegueClient(url, sleep=pauses) as client:
        yield client


def mocked(handler: Handler, pauses: Pauses) -> SegueClient:
    return SegueClient("http://segue", transport=httpx.MockTransport(handler), sleep=pauses)


def ignore(job: Job) -> None:
    pass


def test_the_key_goes_with_every_request(pauses: Pauses) -> None:
    seen: list[str | None] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("authorization"))
        return httpx.Response(200, json={"models": [], "separators": [], "analyser": None})

    transport = httpx.MockTransport(handler)
    for key in ("s3cret", None):
        with SegueClient("http://segue", transport=transport, sleep=pauses, key=key) as client:
            client.connection.http.get("/v1/models")
    assert seen == ["Bearer s3cret", None]


BRANCH = {"nodes": [node("n")], "job_ids": ["j"], "job_id": "j"}


class TestRetries:
    def branch(self, client: SegueClient) -> str:
        return client.branch("c", "p", {"prompt": "x", "duration_s": 4.0}).job_ids[0]

    def test_a_lost_connection_is_tried_again_under_the_same_key(self, pauses: Pauses) -> None:
        keys: list[str] = []

        def flaky(request: httpx.Request) -> httpx.Response:
            keys.append(request.headers["idempotency-key"])
            if len(keys) < 3:
                raise httpx.ReadError("connection reset")
            return httpx.Response(202, json=BRANCH)

        with mocked(flaky, pauses) as client:
            assert self.branch(client) == "j"
            assert len(keys) == 3
            assert len(set(keys)) == 1
            self.branch(client)
        assert keys[3] != keys[0]  # another request is another piece of work
        assert pauses.slept_s == [0.2, 0.4]

    @pytest.mark.parametrize(
        ("status", "retry_after", "pause_s"), [(429, "7", 7.0), (503, "0", 0.0), (503, None, 0.2)]
    )
    def test_a_busy_server_is_asked_again_when_it_wants(
        self, pauses: Pauses, status: int, retry_after: str | None, pause_s: float
    ) -> None:
        headers = {} if retry_after is None else {"Retry-After": retry_after}
        answers = [httpx.Response(status, headers=headers), httpx.Response(202, json=BRANCH)]
        with mocked(lambda _: answers.pop(0), pauses) as client:
            self.branch(client)
        assert pauses.slept_s == [pause_s]

    @pytest.mark.parametrize("status", [404, 500, 502, 504])
    def test_where_a_proxy_says_that_nobody_answered_it_asks_again(self, pauses: Pauses, status: int) -> None:
        """As Serve's does for a request whose replica died under it, and before it knows what it serves."""
        answers = [httpx.Response(status, text="not Segue's own"), httpx.Response(202, json=BRANCH)]
        with mocked(lambda _: answers.pop(0), pauses) as client:
            assert self.branch(client) == "j"
        assert pauses.slept_s == [0.2]

    def test_it_gives_up_in_the_end(self, pauses: Pauses) -> None:
        def refused(request: httpx.Request) -> httpx.Response:
            raise httpx.ConnectError("[Errno 111] Connection refused")

        with mocked(refused, pauses) as client, pytest.raises(Unreachable, match="refused"):
            client.models()
        assert len(pauses.slept_s) == ATTEMPTS - 1

    @pytest.mark.parametrize(
        ("status", "headers"), [(409, {}), (500, {}), (429, {"Retry-After": "86400"}), (422, {})]
    )
    def test_what_another_attempt_will_not_mend_is_not_tried_again(
        self, pauses: Pauses, status: int, headers: dict[str, str]
    ) -> None:
        body = {"title": "No", "detail": "Not like this.", "request_id": "r-9"}
        with (
            mocked(lambda _: httpx.Response(status, headers=headers, json=body), pauses) as client,
            pytest.raises(Rejected, match=r"^No: Not like this\.$") as caught,
        ):
            self.branch(client)
        assert (caught.value.status, caught.value.request_id) == (status, "r-9")
        assert pauses.slept_s == []

    def test_an_upload_is_sent_whole_each_time(self, pauses: Pauses, tmp_path: Path) -> None:
        bodies: list[bytes] = []

        def flaky(request: httpx.Request) -> httpx.Response:
            bodies.append(request.read())
            return httpx.Response(201, json=song()) if len(bodies) == 2 else httpx.Response(503)

        (tmp_path / "clip.wav").write_bytes(b"RIFF" + bytes(1000))
        with mocked(flaky, pauses) as client:
            assert client.upload(tmp_path / "clip.wav").id == SONG
        assert all(b"RIFF" + bytes(1000) in body for body in bodies)

    def test_a_download_cut_short_is_fetched_again(self, pauses: Pauses, tmp_path: Path) -> None:
        class CutShort(httpx.SyncByteStream):
            def __iter__(self) -> Iterator[bytes]:
                yield b"half of"
                raise httpx.RemoteProtocolError("peer closed connection")

        answers = [httpx.Response(200, stream=CutShort()), httpx.Response(200, content=b"all of it")]
        with mocked(lambda _: answers.pop(0), pauses) as client:
            client.download("c", "n", tmp_path / "take.wav")
        assert (tmp_path / "take.wav").read_bytes() == b"all of it"
        assert [path.name for path in tmp_path.iterdir()] == ["take.wav"]

    def test_a_file_that_lies_elsewhere_is_fetched_there(self, pauses: Pauses, tmp_path: Path) -> None:
        """A server may send its clients to the store."""

        def elsewhere(request: httpx.Request) -> httpx.Response:
            if request.url.host == "bucket":
                return httpx.Response(200, content=b"sound")
            return httpx.Response(307, headers={"Location": "http://bucket/blob?signature=x"})

        client = mocked(elsewhere, pauses)
        client.download("c", "n", tmp_path / "take.wav")
        assert (tmp_path / "take.wav").read_bytes() == b"sound"
        ready = Node.model_validate(node("n", job_id="j"))
        assert b"".join(client.listen("c", ready)) == b"sound"

    def test_a_download_that_fails_leaves_the_old_file(self, pauses: Pauses, tmp_path: Path) -> None:
        (tmp_path / "take.wav").write_bytes(b"older")
        with (
            mocked(lambda _: httpx.Response(404), pauses) as client,
            pytest.raises(Rejected, match="Not Found"),
        ):
            client.download("c", "n", tmp_path / "take.wav")
        assert (tmp_path / "take.wav").read_bytes() == b"older"

    @pytest.mark.parametrize("content", [b"<html>hello</html>", b"[]", b'{"models": 3}'])
    def test_another_kind_of_server(self, pauses: Pauses, content: bytes) -> None:
        with (
            mocked(lambda _: httpx.Response(200, content=content), pauses) as client,
            pytest.raises(BadAnswer, match="not a Segue server"),
        ):
            client.models()

    @pytest.mark.parametrize("url", ["127.0.0.1:8000", "nonsense", "http://host:port", "ftp://x"])
    def test_a_url_that_is_none(self, pauses: Pauses, url: str) -> None:
        with pytest.raises(Unreachable), SegueClient(url, sleep=pauses) as client:
            client.models()
        assert pauses.slept_s == []


class TestIds:
    """Of chains on two pages of the server's list."""

    def listing(self, *ids: str) -> Handler:
        def answer(request: httpx.Request) -> httpx.Response:
            if request.url.path == "/v1/chains":
                number = int(request.url.params.get("cursor", 0))
                following = str(number + 1) if number + 1 < len(ids) else None
                return httpx.Response(
                    200, json={"chains": [{**song(), "id": ids[number]}], "cursor": following}
                )
            wanted = request.url.path.rpartition("/")[2]
            if wanted in ids:
                return httpx.Response(200, json={**song(), "id": wanted})
            return httpx.Response(404, json={"title": "Not Found", "detail": f"no chain {wanted}"})

        return answer

    def test_the_beginning_of_a_chains_id_is_enough(self, pauses: Pauses) -> None:
        other = "5abc" + 20 * "0"
        with mocked(self.listing(SONG, other), pauses) as client:
            assert client.chain("5a5").id == SONG
            assert client.chain("5ab").id == other

    def test_one_that_fits_several_is_refused_and_names_them(self, pauses: Pauses) -> None:
        with (
            mocked(self.listing(SONG, "5abc"), pauses) as client,
            pytest.raises(NoSuchId, match=rf"5a could be 2 chains: {SONG}, 5abc"),
        ):
            client.chain("5a")

    def test_a_whole_id_wins_over_one_that_it_begins(self, pauses: Pauses) -> None:
        with mocked(self.listing(SONG, "5a"), pauses) as client:
            assert client.chain("5a").id == "5a"

    @pytest.mark.parametrize("start", ["ff", "", "..", "a/b", "?x"])
    def test_one_that_fits_none(self, pauses: Pauses, start: str) -> None:
        with mocked(self.listing(SONG), pauses) as client, pytest.raises(NoSuchId):
            client.chain(start)

    @pytest.mark.parametrize("odd_id", ["../../etc", "a b", "x\x1b[2J", ""])
    def test_an_id_that_is_none_is_no_answer_of_segue(self, pauses: Pauses, odd_id: str) -> None:
        answer = {**song(), "id": odd_id}
        with (
            mocked(lambda _: httpx.Response(200, json=answer), pauses) as client,
            pytest.raises(BadAnswer),
        ):
            client.chain(SONG)

    @given(st.lists(st.text("ab", min_size=1, max_size=4), unique=True), st.text("ab", max_size=4))
    def test_matching_gives_the_only_one_that_begins_so(self, ids: list[str], start: str) -> None:
        begins = [candidate for candidate in ids if candidate.startswith(start)]
        expected = start if start in ids else begins[0] if start and len(begins) == 1 else None
        if expected is None:
            with pytest.raises(NoSuchId):
                matching(start, ids, "node")
        else:
            assert matching(start, ids, "node") == expected


class TestDecoder:
    STREAM = (
        ': hello\n\nretry: 1500\n\nevent: node\nid: 4\ndata: {"a":\ndata:1}\n\n'
        "data: plain \u2028 é\r\n\r\nid: 5\r\revent: x\n\nevent: late\ndata: lost"
    ).encode()
    EVENTS = (ServerEvent("node", '{"a":\n1}'), ServerEvent("message", "plain \u2028 é"))

    @given(st.lists(st.integers(0, len(STREAM)), max_size=20).map(sorted))
    def test_it_reads_the_same_however_the_stream_is_cut(self, cuts: list[int]) -> None:
        decoder = EventDecoder()
        events: list[ServerEvent] = []
        for start, end in zip([0, *cuts], [*cuts, len(self.STREAM)], strict=True):
            events += decoder.feed(self.STREAM[start:end])
        assert tuple(events) == self.EVENTS
        assert (decoder.last_id, decoder.retry_s) == ("5", 1.5)

    def test_half_an_event_does_not_move_the_id(self) -> None:
        decoder = EventDecoder("3")
        assert list(decoder.feed(b"id: 4\ndata: x\n")) == []
        assert decoder.last_id == "3"


class TestLiveChain:
    @pytest.fixture
    def live(self) -> LiveChain:
        return LiveChain(Chain.model_validate(song()))

    def event(self, kind: str, data: Any) -> ServerEvent:
        return ServerEvent(kind, json.dumps(data))

    def test_nodes_are_upserts(self, live: LiveChain) -> None:
        live.apply(self.event("node", node("new", TAKE, status="pending")))
        live.apply(self.event("node", node("new", TAKE, status="running")))
        assert [each.status for each in live.chain.nodes if each.id == "new"] == ["running"]
        assert len(live.chain.nodes) == 5

    def test_progress_never_reopens_a_finished_node(self, live: LiveChain) -> None:
        assert live.apply(self.event("progress", {"node_id": TAKE, "job_id": "j", "progress": 0.9})) == []
        assert live.chain.node(TAKE).progress is None

    def test_a_chain_event_changes_what_it_names(self, live: LiveChain) -> None:
        live.apply(self.event("chain", {"id": SONG, "title": "Dawn", "version": 8, "spine": ["aa00"]}))
        assert (live.chain.title, live.chain.version, live.chain.spine) == ("Dawn", 8, ("aa00",))
        assert len(live.chain.nodes) == 4

    def test_unknown_events_are_left_alone(self, live: LiveChain) -> None:
        assert live.apply(self.event("weather", "rain")) == []

    @pytest.mark.parametrize("kind", ["snapshot", "node", "chain", "progress"])
    @pytest.mark.parametrize("data", ["{", "[]", "3", "{}", ""])
    def test_nonsense_is_an_error_that_names_the_event(self, live: LiveChain, kind: str, data: str) -> None:
        if kind == "chain" and data == "{}":
            assert live.apply(ServerEvent(kind, data)) == []
            return
        with pytest.raises(BadAnswer, match=kind):
            live.apply(ServerEvent(kind, data))


class TestLiveJobs:
    """What is left to be done, by the events of all jobs."""

    def test_jobs_come_go_on_and_end(self) -> None:
        live = LiveJobs()
        assert not live.is_known
        one, two = ({"id": f"j{number}", "kind": "generate", "state": "queued"} for number in (1, 2))
        live.apply(ServerEvent("snapshot", json.dumps({"chains": [], "jobs": [one]})))
        live.apply(ServerEvent("job", json.dumps(two)))
        live.apply(ServerEvent("progress", json.dumps({"job_id": "j2", "progress": 0.5})))
        live.apply(ServerEvent("progress", json.dumps({"job_id": "elsewhere", "progress": 0.5})))
        live.apply(ServerEvent("chain", "{}"))
        assert live.is_known
        assert {job.id: job.progress for job in live.unfinished.values()} == {"j1": None, "j2": 0.5}
        [ended] = live.apply(ServerEvent("job", json.dumps({**one, "state": "failed"})))
        assert ended.is_finished
        assert list(live.unfinished) == ["j2"]
        with pytest.raises(BadAnswer, match="snapshot"):
            live.apply(ServerEvent("snapshot", "[]"))


class TestFollow:
    def pending(self, fake: FakeSegue, *node_ids: str) -> list[dict[str, Any]]:
        new = [node(node_id, TAKE, status="pending") for node_id in node_ids]
        fake.chain["nodes"] += new
        return new

    def test_a_broken_stream_is_resumed_after_its_last_id(
        self, client: SegueClient, fake: FakeSegue, pauses: Pauses
    ) -> None:
        self.pending(fake, "n1")
        fake.streams = [
            [
                frame("snapshot", fake.chain, 7),
                frame("node", node("n1", TAKE, status="running"), 8),
                frame("progress", {"node_id": "n1", "job_id": "j", "progress": 0.25}),
                frame("node", node("n1", TAKE, status="ready"))[:-20],  # cut in the middle
                DROP,
            ],
            [frame("node", node("n1", TAKE, status="ready"), 9)],
        ]
        seen = [(each.status, each.progress) for each in client.follow(client.chain(SONG), {"n1"})]
        assert seen == [("pending", None), ("running", None), ("running", 0.25), ("ready", None)]
        resumed = [headers.get("last-event-id") for headers in fake.headers_of("/events")]
        assert resumed == [None, "8"]
        assert len(pauses.slept_s) == 1

    def test_an_orderly_end_is_resumed_after_the_pause_that_the_server_wants(
        self, client: SegueClient, fake: FakeSegue, pauses: Pauses
    ) -> None:
        self.pending(fake, "n1")
        heartbeat = [b"retry: 3000\n\n", b": still here\n\n"]
        fake.streams = [[frame("snapshot", fake.chain, 7), *heartbeat]] + [heartbeat] * (2 * ATTEMPTS)
        assert [each.status for each in client.follow(client.chain(SONG), {"n1"})][-1] == "ready"
        assert pauses.slept_s == [3.0] * (2 * ATTEMPTS + 1)
        assert fake.headers_of("/events")[1]["last-event-id"] == "7"

    def test_it_ends_once_all_are_finished_and_not_before(self, client: SegueClient, fake: FakeSegue) -> None:
        self.pending(fake, "n1", "n2")
        seen = [(each.id, each.status) for each in client.follow(client.chain(SONG), {"n1", "n2"})]
        assert seen[-1] == ("n2", "ready")
        assert ("n1", "ready") in seen

    def test_a_chain_at_rest_ends_at_once(self, client: SegueClient, fake: FakeSegue) -> None:
        assert len(list(client.follow(client.chain(SONG)))) == 4
        assert len(fake.headers_of("/events")) == 1

    def test_streams_that_only_end_are_an_error(
        self, client: SegueClient, fake: FakeSegue, pauses: Pauses
    ) -> None:
        fake.streams = [[] for _ in range(ATTEMPTS)]
        with pytest.raises(Unreachable, match="keeps ending"):
            list(client.follow(client.chain(SONG)))
        assert len(pauses.slept_s) == ATTEMPTS - 1

    def test_a_chain_that_is_gone_is_the_servers_error(self, pauses: Pauses) -> None:
        gone = httpx.Response(404, json={"title": "Not Found", "detail": "no chain 5a5a"})
        with mocked(lambda _: gone, pauses) as client, pytest.raises(Rejected, match="no chain 5a5a"):
            list(client.follow(Chain.model_validate(song())))


class TestDeleting:
    def test_a_deletion_whose_answer_was_lost_is_done(self, pauses: Pauses) -> None:
        """The second attempt finds nothing any more."""
        asked: list[str] = []

        def flaky(request: httpx.Request) -> httpx.Response:
            asked.append(request.method)
            if len(asked) == 1:
                raise httpx.ReadError("connection reset")
            return httpx.Response(404, json={"title": "Not Found", "detail": "no chain"})

        with mocked(flaky, pauses) as client:
            client.delete_chain(SONG)
        assert asked == ["DELETE", "DELETE"]


class TestWorks:
    def answers(self, *states: dict[str, Any]) -> Handler:
        """A server whose job is in these states, one after the other."""
        left = list(states)

        def answer(request: httpx.Request) -> httpx.Response:
            if request.url.path.startswith("/v1/jobs/"):
                return httpx.Response(200, json={"id": "job-x", **left.pop(0)})
            if request.url.path.endswith("/stems"):
                return httpx.Response(200, json={"job_id": "job-x", "separations": SEPARATIONS})
            return httpx.Response(202, json={"job_id": "job-x"})

        return answer

    def test_a_file_that_comes_at_once_is_taken(self, pauses: Pauses, tmp_path: Path) -> None:
        with mocked(lambda _: httpx.Response(200, content=b"the line"), pauses) as client:
            works.export(client, SONG, {"format": "mp3"}, tmp_path / "x.mp3", ignore)
        assert (tmp_path / "x.mp3").read_bytes() == b"the line"

    @pytest.mark.parametrize(
        ("end", "sentence"),
        [
            (
                {"state": "failed", "error": {"code": "ffmpeg", "detail": "out of disk"}},
                "job job-x failed: out of disk",
            ),
            ({"state": "cancelled"}, "job job-x was cancelled"),
        ],
    )
    def test_a_job_that_makes_nothing_says_why(
        self, pauses: Pauses, tmp_path: Path, end: dict[str, Any], sentence: str
    ) -> None:
        with (
            mocked(self.answers({"state": "running", "progress": 0.5}, end), pauses) as client,
            pytest.raises(WorkFailed, match=f"^{sentence}$"),
        ):
            works.export(client, SONG, {"format": "wav"}, tmp_path / "x.wav", ignore)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("data", [b"", b"\x02", bytes(24), bytes.fromhex("0200000001000000") + bytes(20)])
    def test_an_outline_that_is_none_is_no_answer_of_segue(self, data: bytes) -> None:
        with pytest.raises(BadAnswer):
            read_peaks(data)

    def test_a_stem_cannot_name_a_file_elsewhere(self, pauses: Pauses, tmp_path: Path) -> None:
        with (
            mocked(self.answers({"state": "succeeded"}), pauses) as client,
            pytest.raises(BadAnswer),
        ):
            works.stems(client, SONG, TAKE, {}, tmp_path / "parts", "wav", ignore)
        assert list(tmp_path.rglob("*")) == []


SEPARATIONS = [{"job_id": "job-x", "tracks": [{"name": "../away"}]}]
