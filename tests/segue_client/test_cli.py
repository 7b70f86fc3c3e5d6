from __future__ import annotations

import io
import os
import pty
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue_client import client
from segue_client.answers import Chain, Failure, Node
from segue_client.cli import DEFAULT_URL, default_url, main
from segue_client.terminal import Terminal, described, drawn, printable, short_ids, tree_lines
from tests.segue_client.fake_segue import (
    DROP,
    SONG,
    SPINE_END,
    TAKE,
    FakeSegue,
    create_fake,
    frame,
    serving,
    song,
)


@dataclass(frozen=True)
class Outcome:
    status: int
    out: str
    err: str


Segue = Callable[..., Outcome]


@pytest.fixture
def fake() -> FakeSegue:
    return FakeSegue()


@pytest.fixture
def url(fake: FakeSegue) -> Iterator[str]:
    with serving(create_fake(fake)) as url:
        yield url


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FIRST_BACKOFF_S", 0.01)
    monkeypatch.setattr(client, "JOB_POLL_S", 0.01)


@pytest.fixture
def segue(url: str, capsys: pytest.CaptureFixture[str]) -> Segue:
    def run(*arguments: str | Path) -> Outcome:
        status = main(["--url", url, *map(str, arguments)])
        captured = capsys.readouterr()
        return Outcome(status, captured.out, captured.err)

    return run


class TestCommands:
    def test_upload_prints_the_chains_id_alone(self, segue: Segue, fake: FakeSegue, tmp_path: Path) -> None:
        (tmp_path / "clip.wav").write_bytes(b"RIFF....")
        done = segue("upload", tmp_path / "clip.wav", "--title", "Dawn")
        assert (done.status, done.out.strip()) == (0, "9e9e" + 20 * "0")
        assert "“Dawn”, 12.0 s" in done.err
        assert fake.bodies == [("clip.wav", b"RIFF....")]

    def test_upload_of_a_file_that_is_not_there(self, segue: Segue, tmp_path: Path) -> None:
        done = segue("upload", tmp_path / "missing.wav")
        assert done.status == 1
        assert "missing.wav" in done.err

    def test_continue_branches_from_the_spines_end_and_waits(self, segue: Segue, fake: FakeSegue) -> None:
        done = segue("continue", "5a", "--prompt", "slow strings", "--duration", "4", "--takes", "2")
        assert done.status == 0
        assert done.out.split() == ["dd00" + 20 * "0", "dd10" + 20 * "0"]
        assert fake.bodies == [
            {
                "parent_id": SPINE_END,
                "prompt": "slow strings",
                "duration_s": 4.0,
                "takes": 2,
                "mode": "continue",
            }
        ]
        assert done.err.count("  ready\n") == 2

    def test_continue_passes_on_what_was_asked(self, segue: Segue, fake: FakeSegue) -> None:
        done = segue(
            *(
                "continue",
                "5a",
                "--node",
                "bbf",
                "--seed",
                "0",
                "--mode",
                "melody",
                "--model",
                "tiny",
                "--no-watch",
            )
        )
        assert done.status == 0
        (body,) = fake.bodies
        assert (body["parent_id"], body["seed"], body["mode"], body["model"]) == (TAKE, 0, "melody", "tiny")
        assert fake.headers_of("/events") == []

    def test_continue_survives_a_lost_connection(self, segue: Segue, fake: FakeSegue) -> None:
        fake.streams = [[frame("snapshot", song(), 7), DROP], [DROP]]
        done = segue("continue", "5a", "--prompt", "x")
        assert done.status == 0
        assert done.err.endswith("  ready\n")
        assert len(fake.headers_of("/events")) == 3

    def test_a_take_that_fails_is_told_and_fails_the_command(self, segue: Segue, fake: FakeSegue) -> None:
        fake.outcome = {"status": "failed", "error": {"code": "engine", "detail": "out of memory"}}
        done = segue("continue", "5a", "--prompt", "x")
        assert done.status == 1
        assert done.out.strip() == "dd00" + 20 * "0"
        assert "dd00" + 20 * "0" + " failed: out of memory" in done.err

    def test_watch_tells_progress_in_plain_lines(self, segue: Segue, fake: FakeSegue) -> None:
        segue("continue", "5a", "--takes", "1", "--no-watch")
        done = segue("watch", "5a")
        assert done.status == 0
        new = "dd00" + 20 * "0"
        assert done.err.splitlines() == [f"{new}  pending", f"{new}  pending", f"{new}  ready"]

    def test_commit_and_discard(self, segue: Segue, fake: FakeSegue) -> None:
        assert segue("commit", "5a", "bbff").out == f"committed {TAKE}; spine: 3 nodes, 28.0 s\n"
        assert segue("discard", "5a", "cc").out == f"discarded cc00{20 * '0'}\n"

    def test_a_refusal_shows_what_the_server_says(self, segue: Segue) -> None:
        done = segue("discard", "5a", "bb00")
        assert done.status == 1
        assert done.err == "segue: Conflict: a node of the spine cannot be discarded (request req-1)\n"

    @pytest.mark.parametrize(
        ("arguments", "content"), [(["--format", "mp3"], b"line as mp3"), ([], b"line as flac")]
    )
    def test_export(
        self, segue: Segue, fake: FakeSegue, tmp_path: Path, arguments: list[str], content: bytes
    ) -> None:
        fake.export_is_ready = True
        out = tmp_path / "song.flac"
        done = segue("export", "5a", "--out", out, *arguments)
        assert (done.status, done.out.replace("\n", "")) == (0, str(out))
        assert out.read_bytes() == content

    def test_what_a_node_sounds_like(self, segue: Segue, fake: FakeSegue) -> None:
        fake.job_states = [{"state": "succeeded", "progress": 1.0}]
        done = segue("analyse", "5a", TAKE)
        assert done.status == 0
        lines = done.out.splitlines()
        assert "tempo:    96.4 bpm (90% sure)" in lines
        assert "key:      F# minor (75% sure)" in lines
        assert not any(line.startswith("loudness") for line in lines)

    def test_stems_as_files(self, segue: Segue, fake: FakeSegue, tmp_path: Path) -> None:
        fake.job_states = [{"state": "running", "progress": 0.4}, {"state": "succeeded", "progress": 1.0}]
        done = segue(
            "stems", "5a", TAKE, "--out", tmp_path / "parts", "--format", "flac", "--two-stems", "vocals"
        )
        assert done.status == 0, done.err
        assert sorted(file.name for file in (tmp_path / "parts").iterdir()) == [
            "residual.flac",
            "vocals.flac",
        ]
        assert (tmp_path / "parts" / "vocals.flac").read_bytes() == b"vocals as flac"
        assert fake.bodies == [{"two_stems": "vocals"}]

    def test_a_stem_cannot_name_a_file_elsewhere(self, segue: Segue, fake: FakeSegue, tmp_path: Path) -> None:
        fake.job_states = [{"state": "succeeded", "progress": 1.0}]
        fake.stems = ("../away",)
        assert segue("stems", "5a", TAKE, "--out", tmp_path / "parts").status == 1
        assert list(tmp_path.rglob("away*")) == []

    def test_an_export_that_takes_its_time(self, segue: Segue, fake: FakeSegue, tmp_path: Path) -> None:
        fake.job_states = [
            {"state": "running", "progress": 0.4},
            {"state": "succeeded", "progress": 1.0, "result": {"export_id": "e1"}},
        ]
        done = segue("export", "5a", "--out", tmp_path / "song.wav")
        assert done.err.splitlines() == ["export  running  40%", "export  succeeded"]
        assert (tmp_path / "song.wav").read_bytes() == b"export e1"

    def test_download(self, segue: Segue, tmp_path: Path) -> None:
        assert segue("download", "5a", "bbff", "--out", tmp_path / "take.mp3").status == 0
        assert (tmp_path / "take.mp3").read_bytes() == f"{TAKE} as mp3".encode()

    def test_listen_plays_the_nodes_audio_and_leaves_nothing(self, segue: Segue, tmp_path: Path) -> None:
        player = tmp_path / "player"
        player.write_text(f'#!/bin/sh\necho "$2" > {tmp_path}/path; cat "$2" > {tmp_path}/heard\n')
        player.chmod(0o755)
        assert segue("listen", "5a", "bbff", "--player", f"{player} -q").status == 0
        assert (tmp_path / "heard").read_text() == f"{TAKE} as wav"
        assert not Path((tmp_path / "path").read_text().strip()).exists()

    @pytest.mark.parametrize("made_by", [None, "job-7"])
    def test_listen_to_a_pipe_hears_a_node_as_it_is_made(
        self, url: str, fake: FakeSegue, made_by: str | None
    ) -> None:
        fake.chains[SONG]["nodes"][-1].update(job_id=made_by, status="running" if made_by else "ready")
        arguments = [
            sys.executable,
            "-m",
            "segue_client.cli",
            "--url",
            url,
            "listen",
            "5a",
            "bbff",
            "--stdout",
        ]
        heard = subprocess.run(arguments, capture_output=True, check=True).stdout
        assert heard == (b"the sound of job-7" if made_by else f"{TAKE} as wav".encode())

    def test_a_take_that_breaks_off_is_told(self, segue: Segue, fake: FakeSegue) -> None:
        fake.chains[SONG]["nodes"][-1].update(job_id="job-broken", status="running")
        done = segue("listen", "5a", "bbff", "--stdout")
        assert done.status == 1
        assert "broke off" in done.err

    def test_listen_without_a_player_says_what_to_do(
        self, segue: Segue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        done = segue("listen", "5a", "bbff")
        assert done.status == 1
        assert "--player" in done.err

    def test_chains_lists_all_pages(self, segue: Segue, fake: FakeSegue) -> None:
        fake.chains["77ff"] = {**song(), "id": "77ff", "title": "Night\x1b[2J"}
        assert segue("chains").out.splitlines() == [
            "5a5a0000  2026-10-01T12:30:00Z  Evening",
            "77ff  2026-10-01T12:30:00Z  Night [2J",
        ]

    def test_show_draws_the_tree(self, segue: Segue) -> None:
        assert segue("show", "5a5").out.splitlines() == [
            f"Evening  chain {SONG}",
            "● aa000000  12.0 s  ready, committed",
            "│ └─× cc000000  8.0 s  ready, discarded  “too loud”",
            "● bb000000  8.0 s  ready, committed  “warm pads”",
            "  └─○ bbff0000  8.0 s  ready, candidate  “strings [31m”",
            "spine: 2 nodes, 20.0 s, version 7",
        ]

    def test_models(self, segue: Segue) -> None:
        assert segue("models").out.splitlines() == [
            "tiny  default  ready  MIT",
            "facebook/musicgen-small  CC-BY-NC 4.0",
        ]

    def test_an_ambiguous_id_is_refused(self, segue: Segue, fake: FakeSegue) -> None:
        done = segue("commit", "5a", "bb")
        assert done.status == 1
        assert f"bb could be 2 nodes: {SPINE_END}, {TAKE}" in done.err
        assert not any(path.endswith("/commit") for _, path, _ in fake.requests)

    def test_ctrl_c_ends_quietly(self, segue: Segue, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupted(self: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(client.SegueClient, "models", interrupted)
        assert segue("models") == Outcome(130, "", "")


class TestInvocation:
    def test_no_server_says_how_to_start_one(self, capsys: pytest.CaptureFixture[str]) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
            url = f"http://127.0.0.1:{taken.getsockname()[1]}"
            assert main(["--url", url, "models"]) == 1
        shown = capsys.readouterr().err
        assert url in shown
        assert "make run" in shown
        assert "Traceback" not in shown

    def test_the_url_comes_from_the_environment(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("SEGUE_URL", raising=False)
        assert default_url() == DEFAULT_URL
        monkeypatch.setenv("SEGUE_URL", url)
        assert default_url() == url
        assert main(["models"]) == 0

    @pytest.mark.parametrize("arguments", [[], ["sing"], ["export", "5a"], ["continue", "5a", "--mode", "x"]])
    def test_wrong_usage(self, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
        assert "usage: segue" in capsys.readouterr().err

    def test_piped_output_is_plain_even_where_colours_are_wished_for(self, url: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "segue_client.cli", "--url", url, "show", "5a"],
            capture_output=True,
            env={**os.environ, "FORCE_COLOR": "1", "TTY_COMPATIBLE": "1", "PYTHONIOENCODING": "utf-8"},
            check=True,
        )
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", done.stdout.decode())
        assert "bbff0000" in done.stdout.decode()

    def test_on_a_terminal_there_are_bars(self, url: str) -> None:
        ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "segue_client.cli", "--url", url, "continue", "5a", "--prompt", "x"]
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "PYTHONIOENCODING": "utf-8"}
        environment.pop("NO_COLOR", None)
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=environment) as process:
            os.close(theirs)
            shown = b""
            try:
                while chunk := os.read(ours, 4096):
                    shown += chunk
            except OSError:  # Linux's way to say that the other end is closed
                pass
            out, _ = process.communicate(timeout=30)
        os.close(ours)
        assert process.returncode == 0
        assert b"\x1b[" in shown
        assert "━" in shown.decode()
        assert "100%" in shown.decode()
        assert out.decode().split() == ["dd00" + 20 * "0"]  # a pipe: ids and nothing else


def chain_of(parents: list[int], spine_length: int) -> Chain:
    """Node i + 1 hangs from node `parents[i]`; the spine is the path of first children."""
    nodes = [Node(id="n0", parent_id=None, status="ready", decision="committed", duration_s=1)]
    for number, parent in enumerate(parents, start=1):
        nodes.append(
            Node(id=f"n{number}", parent_id=f"n{parent}", status="ready", decision="candidate", duration_s=1)
        )
    spine = ["n0"]
    while len(spine) < spine_length:
        child = next((node.id for node in nodes if node.parent_id == spine[-1]), None)
        if child is None:
            break
        spine.append(child)
    return Chain(
        id="c", title="", version=1, updated_at="", root_id="n0", nodes=tuple(nodes), spine=tuple(spine)
    )


trees = st.integers(0, 12).flatmap(
    lambda size: st.builds(
        chain_of,
        st.tuples(*(st.integers(0, parent) for parent in range(size))).map(list),
        st.integers(0, 6),
    )
)


class TestDrawing:
    @given(trees)
    def test_every_node_is_drawn_once_and_below_its_parent(self, chain: Chain) -> None:
        order = [node.id for _, node in tree_lines(chain)]
        assert sorted(order) == sorted(node.id for node in chain.nodes)
        for node in chain.nodes:
            assert node.parent_id is None or order.index(node.parent_id) < order.index(node.id)

    @given(trees)
    def test_the_spine_runs_straight_down_and_branches_hang_one_step_deeper(self, chain: Chain) -> None:
        guides = {node.id: guide for guide, node in tree_lines(chain)}
        for node in chain.nodes:
            if node.id in chain.spine:
                assert guides[node.id] == ""
            elif node.parent_id in chain.spine:
                assert len(guides[node.id]) == 4
            elif node.parent_id is not None:
                assert len(guides[node.id]) == len(guides[node.parent_id]) + 2

    @given(trees)
    def test_every_line_goes_on_until_a_corner_ends_it(self, chain: Chain) -> None:
        guides = [guide for guide, _ in tree_lines(chain)]
        for above, below in zip(guides, [*guides[1:], ""], strict=True):
            for column, mark in enumerate(above):
                under = below[column] if column < len(below) else " "
                if column > 0 and mark in "├│":
                    assert under in "├│└"
                if column > 0 and mark == "└":
                    assert under in " ─"

    def test_a_very_deep_branch_is_drawn(self) -> None:
        assert len(list(tree_lines(chain_of(list(range(3000)), 1)))) == 3001

    def test_a_chain_whose_root_is_still_being_made(self) -> None:
        root = Node(
            id="r" * 24, parent_id=None, status="running", decision="committed", duration_s=8, progress=0.42
        )
        chain = Chain(id="c", title=" ", version=1, updated_at="", root_id=root.id, nodes=(root,), spine=())
        lines = [line.plain for line in drawn(chain)]
        assert lines[0].startswith("untitled")
        assert lines[1] == "● rrrrrrrr  8.0 s  running 42%, committed"

    def test_a_failed_node_says_why(self) -> None:
        node = Node(
            id="x",
            parent_id="y",
            status="failed",
            decision="candidate",
            duration_s=4,
            error=Failure(code="engine", detail="out of\nmemory"),
        )
        assert described(node, "x").plain.endswith("failed, candidate  out of memory")

    @given(st.text())
    def test_no_text_steers_the_terminal(self, text: str) -> None:
        shown = printable(text)
        assert not re.search(r"[\x00-\x1f\x7f-\x9f]", shown)
        assert len(shown) <= 60

    @given(st.sets(st.text("0123456789abcdef", min_size=24, max_size=24), max_size=5), st.integers(0, 23))
    def test_short_ids_tell_their_own_from_the_others(self, ids: set[str], common: int) -> None:
        ids = {"f" * common + full[common:] for full in ids}
        short = short_ids(ids)
        for full in ids:
            assert [other for other in ids if other.startswith(short[full])] == [full]
            assert len(short[full]) >= 8

    def test_a_prompt_is_never_taken_for_markup(self) -> None:
        out = io.StringIO()
        Terminal(out, io.StringIO()).say("[red]not red[/red] :smile:")
        assert out.getvalue() == "[red]not red[/red] :smile:\n"

    def test_long_lines_are_not_wrapped_in_a_pipe(self) -> None:
        out = io.StringIO()
        Terminal(out, io.StringIO()).say("word " * 100)
        assert out.getvalue().count("\n") == 1
