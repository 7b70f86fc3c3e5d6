"""The command `segue` against the real application: what is printed, written and changed, and the exit status."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import shlex
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import pytest
import soundfile
from PIL import Image

from deployments.engines.analysis.mock import MockAnalyser
from deployments.engines.separation.mock import MockSeparator
from segue_client import client, connection
from segue_client.answers import Misused
from segue_client.cli import DEFAULT_URL, access_key, default_url, main
from segue_client.client import SegueClient
from storage import paths
from tests.segue_client.real_segue import RealSegue, real_segue
from tests.support.clips import encoded, music
from tests.support.credentials import operator
from tests.support.harness import Running, tone, wav
from tests.support.scripted_engine import ScriptedEngine

RATE_HZ = 44_100
STEMS = ["bass", "drums", "other", "residual", "vocals"]


@dataclass(frozen=True)
class Outcome:
    status: int
    out: str
    err: str


Segue = Callable[..., Outcome]


@pytest.fixture(scope="module")
def server() -> Iterator[RealSegue]:
    with real_segue(
        {"mock": ScriptedEngine()},
        separators={"mock": MockSeparator()},
        analyser=MockAnalyser(),
        overrides={"jobs": {"concurrent": 4}},
    ) as server:
        yield server


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "FIRST_BACKOFF_S", 0.01)
    monkeypatch.setattr(client, "JOB_POLL_S", 0.05)


@pytest.fixture
def segue(server: RealSegue, capsys: pytest.CaptureFixture[str]) -> Segue:
    def run(*arguments: str | Path) -> Outcome:
        status = main(["--url", server.url, *map(str, arguments)])
        captured = capsys.readouterr()
        return Outcome(status, captured.out, captured.err)

    return run


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Two seconds in stereo."""
    file = tmp_path / "Night drive.wav"
    file.write_bytes(wav(tone(2.0, RATE_HZ), RATE_HZ))
    return file


@pytest.fixture
def chain_id(segue: Segue, server: RealSegue, clip: Path) -> str:
    """A chain that was uploaded and analysed."""
    made = segue("upload", clip).out.strip()
    server.do(lambda app: app.rest())
    return made


@pytest.fixture
def chain(server: RealSegue, chain_id: str) -> Callable[[], dict[str, Any]]:
    """The uploaded chain as the server has it now."""
    return lambda: server.do(lambda app: app.chain(chain_id))


def take(segue: Segue, chain_id: str, *options: str) -> str:
    """The id of a new take, once it is ready."""
    done = segue("continue", chain_id, "--duration", "0.5", *options)
    assert done.status == 0, done.err
    return done.out.strip()


def nodes(chain: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {node["id"]: node for node in chain["nodes"]}


README = Path(__file__).resolve().parents[2] / "README.md"


def transcript(page: Path) -> list[tuple[str, list[str]]]:
    """The commands of a page's first block of `console`, each with the lines shown below it."""
    [block] = re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL)[:1]
    found: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line.removeprefix("$ "), []))
        else:
            found[-1][1].append(line)
    return found


def test_the_first_chain_of_the_readme_goes_as_it_is_shown(
    segue: Segue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Word for word, but for the ids, which are the server's own, and the bars of progress."""
    monkeypatch.chdir(tmp_path)
    Path("clip.ogg").write_bytes(encoded(music(73.1, 8_000), 8_000, "ogg"))
    real: dict[str, str] = {}  # by the page's ids

    def translated(words: str) -> str:
        return re.sub(
            r"\b[0-9a-f]{8}(?:[0-9a-f]{16})?\b",
            lambda found: next((real[known] for known in real if known.startswith(found[0])), found[0]),
            words,
        )

    for command, shown in transcript(README):
        program, *arguments = shlex.split(translated(command))
        assert program == "segue"
        done = segue(*arguments)
        assert done.status == 0, done.err
        told = [line.rstrip() for line in (done.out + done.err).splitlines()]
        new = [line for line in shown if re.fullmatch(r"[0-9a-f]{24}", line)]
        real |= dict(zip(new, (line for line in told if re.fullmatch(r"[0-9a-f]{24}", line)), strict=True))
        assert [line for line in shown if "━" not in line and translated(line) not in told] == []
    assert len(real) == 3
    assert soundfile.info("line.mp3").duration == pytest.approx(79.1, abs=0.1)


class TestBeginning:
    def test_upload_prints_the_chains_id_alone(self, segue: Segue, server: RealSegue, clip: Path) -> None:
        done = segue("upload", clip, "--title", "Dawn")
        assert done.status == 0
        made = server.do(lambda app: app.chain(done.out.strip()))
        assert (made["title"], made["nodes"][0]["duration_s"]) == ("Dawn", 2.0)
        assert "“Dawn”, 2.0 s" in done.err

    @pytest.mark.parametrize("name", ["missing.wav", ""])
    def test_upload_of_what_cannot_be_read_is_one_sentence(
        self, segue: Segue, tmp_path: Path, name: str
    ) -> None:
        done = segue("upload", tmp_path / name)
        reason = "no such file or directory" if name else "is a directory"
        assert (done.status, done.err) == (1, f"segue: {tmp_path / name}: {reason}\n")

    def test_upload_of_no_audio_shows_what_the_server_says(self, segue: Segue, tmp_path: Path) -> None:
        (tmp_path / "notes.wav").write_text("buy strings")
        done = segue("upload", tmp_path / "notes.wav")
        assert (done.status, done.out) == (1, "")
        assert done.err.startswith("segue: ")
        assert re.search(r"\(request \S+\)\n$", done.err)

    def test_a_root_from_words(self, segue: Segue, server: RealSegue) -> None:
        done = segue(
            *("generate", "--prompt", "slow strings", "--title", "Dusk", "--duration", "0.5", "--seed", "7")
        )
        assert done.status == 0, done.err
        made = server.do(lambda app: app.chain(done.out.strip()))
        [root] = made["nodes"]
        assert (made["title"], root["status"], root["seed"]) == ("Dusk", "ready", 7)
        assert (root["prompt"], root["duration_s"]) == ("slow strings", 0.5)

    def test_a_root_that_fails_says_why(self, segue: Segue) -> None:
        done = segue("generate", "--prompt", "fail", "--duration", "0.5")
        assert done.status == 1
        assert "failed: this cannot be played" in done.err


class TestTakes:
    def test_continue_goes_on_from_the_spines_end_and_waits(
        self, segue: Segue, chain_id: str, chain: Callable[[], dict[str, Any]]
    ) -> None:
        done = segue("continue", chain_id[:10], "--duration", "0.5", "--takes", "2", "--prompt", "marimba")
        assert done.status == 0
        made = [nodes(chain())[node_id] for node_id in done.out.split()]
        assert [(node["status"], node["prompt"]) for node in made] == [("ready", "marimba")] * 2
        assert {node["parent_id"] for node in made} == {chain()["root_id"]}
        assert len(re.findall(r"^\w{24}  ready$", done.err, re.MULTILINE)) == 2

    def test_what_is_not_asked_for_is_left_to_the_server(
        self, segue: Segue, chain_id: str, chain: Callable[[], dict[str, Any]]
    ) -> None:
        made = segue("continue", chain_id).out.strip()
        node = nodes(chain())[made]
        assert (node["duration_s"], node["params"]["mode"], node["params"]["top_k"]) == (
            10.0,
            "continue",
            250,
        )

    def test_every_option_arrives(
        self, segue: Segue, chain_id: str, chain: Callable[[], dict[str, Any]]
    ) -> None:
        first = take(segue, chain_id)
        options = {
            "--node": first[:12],
            "--mode": "melody",
            "--seed": "0",
            "--temperature": "0.9",
            "--top-k": "50",
            "--top-p": "0.5",
            "--cfg": "4.5",
            "--prompt-duration": "1.5",
            "--bpm": "96",
            "--key": "F# minor",
            "--mood": "calm",
            "--style": "funk",
            "--model": "mock",
            "--duration": "0.5",
            "--prompt": "with brass",
            "--align": "none",
            "--crossfade": "0.25",
        }
        words = (word for pair in options.items() for word in pair)
        done = segue("continue", chain_id, *words, "--no-match-loudness")
        assert done.status == 0, done.err
        node = nodes(chain())[done.out.strip()]
        assert (node["parent_id"], node["seed"], node["prompt"]) == (first, 0, "with brass")
        assert node["params"] == {
            "mode": "melody",
            "prompt_duration_s": 1.5,
            "cfg_coef": 4.5,
            "temperature": 0.9,
            "top_k": 50,
            "top_p": 0.5,
            "model": "mock",
            "bpm": 96.0,
            "key": "F# minor",
            "mood": "calm",
            "style": "funk",
            "align": "none",
            "crossfade_s": 0.25,
            "match_loudness": False,
        }

    def test_compose_writes_the_prompt_from_the_line(
        self, segue: Segue, chain_id: str, chain: Callable[[], dict[str, Any]]
    ) -> None:
        done = segue("compose", chain_id, "--duration", "0.5", "--takes", "2", "--key", "A minor")
        assert done.status == 0, done.err
        made = [nodes(chain())[node_id] for node_id in done.out.split()]
        assert {node["params"]["mode"] for node in made} == {"compose"}
        shown = segue("show", chain_id).out
        assert len(re.findall(r"rank \d", shown)) == 2

    def test_a_take_that_fails_is_told_and_fails_the_command(self, segue: Segue, chain_id: str) -> None:
        done = segue("continue", chain_id, "--prompt", "fail")
        assert done.status == 1
        assert done.err.endswith(f"segue: {done.out.strip()} failed: this cannot be played\n")

    def test_a_wish_that_the_server_refuses_is_one_sentence(self, segue: Segue, chain_id: str) -> None:
        done = segue("continue", chain_id, "--temperature", "9")
        assert (done.status, done.out) == (1, "")
        assert "temperature" in done.err
        assert len(done.err.splitlines()) == 1

    def test_watch_shows_what_is_being_made_and_cancel_ends_it(
        self, segue: Segue, server: RealSegue, chain_id: str, chain: Callable[[], dict[str, Any]]
    ) -> None:
        node_id = segue("continue", chain_id, "--prompt", "slow", "--no-watch").out.strip()
        job_id = nodes(chain())[node_id]["job_id"]
        listed = segue("jobs", "--unfinished").out
        assert re.search(rf"^{job_id[:8]}\S*  .*  generate  (queued|running.*)  chain", listed, re.MULTILINE)
        assert segue("cancel", job_id[:12]).out in (f"cancelled {job_id}\n", f"{job_id} is asked to end\n")
        server.do(lambda app: app.ended(job_id))
        assert job_id[:8] not in segue("jobs", "--unfinished").out
        assert f"{job_id[:8]}" in segue("jobs").out
        done = segue("watch", chain_id)
        assert (done.status, done.err) == (0, "")

    def test_watch_without_a_chain_waits_for_all_jobs(self, segue: Segue, chain_id: str) -> None:
        begun = segue("continue", chain_id, "--prompt", "fail", "--no-watch", "--takes", "2").out.split()
        assert len(begun) == 2
        done = segue("watch")
        assert done.status in (0, 1)  # they may have ended before it began to watch
        assert segue("jobs", "--unfinished").out == ""
        assert segue("watch").status == 0

    def test_a_job_that_has_ended_cannot_be_cancelled(
        self, segue: Segue, chain_id: str, chain: Callable[[], dict[str, Any]]
    ) -> None:
        node_id = take(segue, chain_id)
        job_id = nodes(chain())[node_id]["job_id"]
        done = segue("cancel", job_id)
        assert (done.status, done.err) == (1, f"segue: job {job_id} had ended before: it succeeded\n")

    def test_ctrl_c_leaves_the_jobs_running_and_says_so(
        self, server: RealSegue, segue: Segue, chain_id: str, chain: Callable[[], dict[str, Any]]
    ) -> None:
        command = ["continue", chain_id, "--prompt", "slow", "--takes", "2"]
        with subprocess.Popen(
            [sys.executable, "-m", "segue_client.cli", "--url", server.url, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            made = [process.stdout.readline().strip() for _ in range(2)]
            process.stderr.readline()  # it watches
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=30)
        assert process.returncode == 130
        assert err.endswith(
            f"Stopped watching; the server goes on making 2 takes. Watch again with: segue watch {chain_id}\n"
        )
        assert "Traceback" not in err
        unfinished = [nodes(chain())[node_id] for node_id in made]
        assert {node["status"] for node in unfinished} <= {"pending", "running"}
        for node in unfinished:
            segue("cancel", node["job_id"])

    def test_ctrl_c_elsewhere_ends_quietly(self, segue: Segue, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupted(self: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(client.SegueClient, "models", interrupted)
        assert segue("models") == Outcome(130, "", "")


class TestDeciding:
    def test_there_and_back(self, segue: Segue, chain_id: str, chain: Callable[[], dict[str, Any]]) -> None:
        node_id = take(segue, chain_id)
        assert segue("commit", chain_id, node_id[:12]).out == f"committed {node_id}; spine: 2 nodes, 2.5 s\n"
        assert chain()["spine"] == [chain()["root_id"], node_id]
        assert segue("uncommit", chain_id, node_id).out == f"off the spine: {node_id}; spine: 1 node, 2.0 s\n"
        assert chain()["spine"] == [chain()["root_id"]]
        assert segue("discard", chain_id, node_id).out == f"discarded {node_id}; spine: 1 node, 2.0 s\n"
        assert nodes(chain())[node_id]["decision"] == "discarded"
        assert segue("restore", chain_id, node_id).out == f"restored {node_id}; spine: 1 node, 2.0 s\n"
        assert nodes(chain())[node_id]["decision"] == "candidate"

    def test_a_refusal_shows_what_the_server_says(
        self, segue: Segue, chain_id: str, chain: Callable[[], dict[str, Any]]
    ) -> None:
        for command in ("discard", "uncommit"):
            done = segue(command, chain_id, chain()["root_id"])
            assert (done.status, done.out) == (1, "")
            assert re.fullmatch(r"segue: [^\n]*spine[^\n]* \(request \S+\)\n", done.err)

    def test_an_id_that_names_nothing_changes_nothing(
        self, segue: Segue, chain_id: str, chain: Callable[[], dict[str, Any]]
    ) -> None:
        before = chain()
        for command in ("commit", "uncommit", "discard", "restore"):
            assert segue(command, chain_id, "nobody") == Outcome(1, "", "segue: no node nobody\n")
        assert chain() == before


class TestEditing:
    def test_a_part_of_a_node_and_takes_from_within_it(
        self, segue: Segue, chain_id: str, chain: Callable[[], dict[str, Any]]
    ) -> None:
        root = chain()["root_id"]
        done = segue("crop", chain_id, root[:10], "--from", "0.5", "--to", "1.25")
        part = nodes(chain())[done.out.strip()]
        assert part["cropped_from"] == {"node_id": root, "from_s": 0.5, "to_s": 1.25}
        assert done.err == f"0.500 s to 1.250 s of {root[:8]}, 0.750 s\n"
        begun = segue("continue", chain_id, "--node", root, "--at", "1", "--duration", "0.5")
        take = nodes(chain())[begun.out.strip()]
        assert nodes(chain())[take["parent_id"]]["cropped_from"]["to_s"] == 1.0
        drawn = segue("show", chain_id).out
        assert f"0.5 to 1.2 s of {root[:8]}" in drawn
        assert begun.out.strip()[:8] in drawn
        assert segue("crop", chain_id, root, "--from", "2.5").status == 1
        assert segue("crop", chain_id, root).status == 2

    def test_a_decision_is_undone_and_redone(
        self, segue: Segue, chain_id: str, chain: Callable[[], dict[str, Any]]
    ) -> None:
        root = chain()["root_id"]
        segue("mark", chain_id, root, "--stars", "3")
        assert segue("undo", chain_id).out == f"undid star {root}; spine: 1 node, 2.0 s\n"
        assert nodes(chain())[root]["stars"] == 0
        assert segue("redo", chain_id).out == f"redid star {root}; spine: 1 node, 2.0 s\n"
        assert segue("redo", chain_id).status == 1

    def test_a_diff(self, segue: Segue, chain_id: str, chain: Callable[[], dict[str, Any]]) -> None:
        root = chain()["root_id"]
        part = segue("crop", chain_id, root, "--to", "1.5").out.strip()
        lines = segue("diff", chain_id, root, part).out.splitlines()
        assert lines[0] == "from the beginning, by window"
        assert "duration_s: 2.0 / 1.5" in lines

    def test_a_duplicate(self, segue: Segue, chain_id: str, chain: Callable[[], dict[str, Any]]) -> None:
        done = segue("duplicate", chain_id, "--node", chain()["root_id"], "--title", "other")
        assert done.err == "“other”, spine: 1 node, 2.0 s\n"
        assert "other" in segue("show", done.out.strip()).out

    def test_marks(self, segue: Segue, chain_id: str, chain: Callable[[], dict[str, Any]]) -> None:
        root = chain()["root_id"]
        done = segue("mark", chain_id, root, "--title", "dry", "--stars", "3", "--note", "softer")
        assert done.out == f"marked {root}; “dry”, ★★★, softer\n"
        assert "★★★" in segue("show", chain_id).out
        assert segue("mark", chain_id, root, "--title", "", "--stars", "0").out == f"marked {root}; softer\n"
        assert segue("mark", chain_id, root, "--stars", "9").status == 1
        assert segue("mark", chain_id, root).status == 2


class TestFiles:
    @pytest.mark.parametrize(
        ("name", "options", "form"),
        [
            ("line.wav", [], ("WAVEX", "PCM_24", RATE_HZ)),
            ("line.flac", ["--bit-depth", "16"], ("FLAC", "PCM_16", RATE_HZ)),
            ("LINE.MP3", [], ("MP3", "MPEG_LAYER_III", RATE_HZ)),
            ("line.ogg", ["--format", "flac"], ("FLAC", "PCM_24", RATE_HZ)),
            ("line", ["--format", "wav", "--bit-depth", "32"], ("WAVEX", "FLOAT", RATE_HZ)),
            ("line.wav", ["--sample-rate", "48000"], ("WAVEX", "PCM_24", 48_000)),
        ],
    )
    def test_export_writes_the_format_that_was_asked_for(
        self,
        segue: Segue,
        chain_id: str,
        tmp_path: Path,
        name: str,
        options: list[str],
        form: tuple[str, str, int],
    ) -> None:
        out = tmp_path / name
        done = segue("export", chain_id, "--out", out, *options)
        assert (done.status, done.out.replace("\n", "")) == (0, str(out)), done.err
        info = soundfile.info(io.BytesIO(out.read_bytes()))
        assert (info.format, info.subtype, info.samplerate) == form  # WAVEX: a WAV with its format spelt out
        assert info.duration == pytest.approx(2.0, abs=0.1)

    def test_export_with_everything_that_may_be_asked_of_it(
        self, segue: Segue, chain_id: str, chain: Callable[[], dict[str, Any]], tmp_path: Path
    ) -> None:
        cover, root = tmp_path / "cover.png", chain()["root_id"]
        Image.new("RGB", (40, 30)).save(cover)
        done = segue(
            *("export", chain_id, "--out", tmp_path / "line.m4a", "--node", root[:12], "--from", "0.5"),
            *(
                "--to",
                root[:12],
                "--loudness",
                "-16",
                "--fade-in",
                "0.1",
                "--tail",
                "0.25",
                "--bitrate",
                "128k",
            ),
            *("--title", "A / B 🎵", "--tag", "artist=Someone", "--tag", "bpm=97.5", "--cover", cover),
        )
        assert done.status == 0, done.err
        assert re.search(r"-\d+\.\d LUFS, true peak -\d+\.\d dBTP", done.err)
        with av.open(str(tmp_path / "line.m4a")) as container:
            assert container.metadata["artist"] == "Someone"
            assert container.duration == pytest.approx(1.75e6, abs=3e4)
        clip = segue(
            *(
                "export",
                chain_id,
                "--out",
                tmp_path / "line.mp4",
                "--size",
                "1080x1080",
                "--fps",
                "5",
                "--loop",
            )
        )
        assert clip.status == 0, clip.err
        package = segue("export", chain_id, "--out", tmp_path / "line.zip")
        assert package.status == 0, package.err
        assert "line.dawproject" in zipfile.ZipFile(tmp_path / "line.zip").namelist()

    def test_content_credentials_come_as_a_file_beside_or_inside(
        self, capsys: pytest.CaptureFixture[str], clip: Path, tmp_path: Path
    ) -> None:
        signing = operator(tmp_path)
        with real_segue({"mock": ScriptedEngine()}, overrides={"export": signing.settings}) as server:

            def run(*arguments: str | Path) -> Outcome:
                status = main(["--url", server.url, *map(str, arguments)])
                return Outcome(status, *capsys.readouterr())

            chain_id = run("upload", clip).out.strip()
            opus, manifest = tmp_path / "line.opus", tmp_path / "line.c2pa"
            beside = run("export", chain_id, "--out", opus, "--c2pa")
            assert (beside.status, beside.out.split()) == (0, [str(opus), str(manifest)]), beside.err
            with opus.open("rb") as file:
                judged = signing.reader(file, "application/octet-stream", manifest.read_bytes())
            assert (judged.state, judged.failures) == ("Trusted", [])
            inside = run("export", chain_id, "--out", tmp_path / "line.flac", "--c2pa")
            assert (inside.status, "are in line.flac itself" in inside.err) == (0, True), inside.err

    def test_credentials_that_there_are_none_of_are_missed_in_one_sentence(
        self, segue: Segue, chain_id: str, tmp_path: Path
    ) -> None:
        done = segue("export", chain_id, "--out", tmp_path / "line.opus", "--c2pa")
        assert done.status == 1
        assert "line.opus has no content credentials: this server does not sign exports" in done.err
        assert (tmp_path / "line.opus").exists()
        assert not (tmp_path / "line.c2pa").exists()

    @pytest.mark.parametrize(
        ("options", "sentence"),
        [
            (["--cover", __file__], "is not a PNG, JPEG or WebP"),
            (["--cover", "/nothing/here.png"], "here.png"),
            (["--from", "99"], "lies outside of the line"),
            (["--bitrate", "1k"], "bitrate of MP3"),
        ],
    )
    def test_an_export_that_cannot_be_says_why(
        self, segue: Segue, chain_id: str, tmp_path: Path, options: list[str], sentence: str
    ) -> None:
        done = segue("export", chain_id, "--out", tmp_path / "line.mp3", *options)
        assert done.status in (1, 2)
        assert sentence in done.err
        assert not (tmp_path / "line.mp3").exists()

    @pytest.mark.parametrize("command", ["export", "download"])
    @pytest.mark.parametrize(
        ("name", "options", "sentence"),
        [
            (
                "line.ogg",
                [],
                "line.ogg does not end in one of {}: name the format with --format",
            ),
            ("line", [], "line does not end in one of {}: name the format with --format"),
            (
                "line.flac",
                ["--format", "mp3"],
                "line.flac is the name of a flac file, and --format says mp3",
            ),
        ],
    )
    def test_a_name_that_does_not_say_the_format_is_wrong_usage(
        self, segue: Segue, tmp_path: Path, command: str, name: str, options: list[str], sentence: str
    ) -> None:
        node = ["node"] if command == "download" else []
        endings = ".wav, .flac, .aiff, .mp3, .opus, .m4a" + (", .mp4, .zip" if command == "export" else "")
        done = segue(command, "chain", *node, "--out", tmp_path / name, *options)
        assert (done.status, done.out, done.err) == (2, "", f"segue: {sentence.format(endings)}\n")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("command", ["export", "download", "original", "stems", "process"])
    def test_where_nothing_can_be_written_is_noticed_before_any_work(
        self, segue: Segue, server: RealSegue, chain_id: str, clip: Path, tmp_path: Path, command: str
    ) -> None:
        arguments = {"download": [chain_id, "node"], "stems": [chain_id, "node"], "process": [str(clip)]}
        (tmp_path / "file").write_text("in the way")
        before = server.do(lambda app: app.keys())
        for out in ("missing/line.wav", "file/line.wav", "/proc/line.wav", "."):
            if command in ("stems", "process") and out in ("missing/line.wav", "."):
                continue  # a folder that is made or is there already
            target = Path(out) if out.startswith("/") else tmp_path / out
            done = segue(
                command, *arguments.get(command, [chain_id]), "--out", target, *_format(command, out)
            )
            assert (done.status, done.out) == (1, ""), out
            assert re.fullmatch(r"segue: [^\n]+\n", done.err)
            assert "Errno" not in done.err
        assert server.do(lambda app: app.keys()) == before

    def test_download(self, segue: Segue, chain_id: str, tmp_path: Path) -> None:
        node_id = take(segue, chain_id)
        assert segue("download", chain_id, node_id[:12], "--out", tmp_path / "take.flac").status == 0
        info = soundfile.info(tmp_path / "take.flac")
        assert (info.format, info.frames, info.samplerate) == ("FLAC", RATE_HZ // 2, RATE_HZ)

    def test_download_of_a_line_has_all_before_the_node(
        self, segue: Segue, chain_id: str, tmp_path: Path
    ) -> None:
        node_id = take(segue, chain_id)
        segue("download", chain_id, node_id, "--out", tmp_path / "take.wav")
        assert segue("download", chain_id, node_id, "--line", "--out", tmp_path / "line.wav").status == 0
        own, line = (
            soundfile.read(tmp_path / f"{name}.wav", dtype="float32")[0] for name in ("take", "line")
        )
        assert len(line) > len(own)
        assert line[-len(own) :].tobytes() == own.tobytes()
        refused = segue("download", chain_id, node_id, "--line", "--out", tmp_path / "line.mp3")
        assert refused.status == 2
        assert not (tmp_path / "line.mp3").exists()

    def test_the_outline_of_a_node(self, server: RealSegue, segue: Segue, chain_id: str) -> None:
        node_id = take(segue, chain_id)
        with SegueClient(server.url) as client:
            peaks = client.peaks(chain_id, node_id)
        assert (peaks.sample_rate_hz, peaks.samples_per_pixel) == (RATE_HZ, 256)
        assert {len(channel) for channel in (*peaks.lows, *peaks.highs)} == {-(-(RATE_HZ // 2) // 256)}
        assert all(low <= high for low, high in zip(peaks.lows[0], peaks.highs[0], strict=True))

    def test_the_original_comes_back_byte_for_byte(
        self, segue: Segue, chain_id: str, clip: Path, tmp_path: Path
    ) -> None:
        assert segue("original", chain_id, "--out", tmp_path / "back.wav").status == 0
        assert (tmp_path / "back.wav").read_bytes() == clip.read_bytes()
        made = take(segue, chain_id)
        done = segue("original", chain_id, "--node", made, "--out", tmp_path / "none.wav")
        assert done.status == 1
        assert not (tmp_path / "none.wav").exists()

    def test_provenance_is_json(self, segue: Segue, chain_id: str) -> None:
        node_id = take(segue, chain_id, "--seed", "11")
        said = json.loads(segue("provenance", chain_id, node_id).out)
        assert (said["node_id"], said["origin"]) == (node_id, "generation")

    def test_what_a_node_sounds_like(
        self, segue: Segue, chain_id: str, chain: Callable[[], dict[str, Any]]
    ) -> None:
        done = segue("analyse", chain_id, chain()["root_id"])
        assert done.status == 0, done.err
        assert re.search(r"^tempo:    \d+\.\d bpm", done.out, re.MULTILINE)
        assert re.search(r"^key:      [A-G]", done.out, re.MULTILINE)

    def test_stems_as_files(
        self, segue: Segue, chain_id: str, chain: Callable[[], dict[str, Any]], tmp_path: Path
    ) -> None:
        folder = tmp_path / "new" / "parts"
        done = segue("stems", chain_id, chain()["root_id"], "--out", folder, "--format", "flac")
        assert done.status == 0, done.err
        assert sorted(file.stem for file in folder.iterdir()) == STEMS
        assert sorted(done.out.split("\n")[:-1]) == sorted(str(file) for file in folder.iterdir())
        assert {soundfile.info(file).frames for file in folder.iterdir()} == {2 * RATE_HZ}
        two = segue(
            *("stems", chain_id, chain()["root_id"], "--out", tmp_path / "two", "--two-stems", "vocals")
        )
        assert two.status == 0, two.err
        assert {"vocals.wav", "no_vocals.wav"} <= {file.name for file in (tmp_path / "two").iterdir()}


def _format(command: str, out: str) -> list[str]:
    return ["--format", "wav"] if command in ("export", "download") and not out.endswith(".wav") else []


class TestProcess:
    OPTIONS = ("--normalize", "off", "--no-harmonic-percussive", "--no-composite")

    def test_a_track_is_taken_apart_into_files(self, segue: Segue, clip: Path, tmp_path: Path) -> None:
        done = segue("process", clip, "--out", tmp_path / "all", "--format", "flac", *self.OPTIONS)
        assert done.status == 0, done.err
        files = sorted((tmp_path / "all").iterdir())
        assert [file.name for file in files] == [f"{name}.flac" for name in STEMS]
        assert {soundfile.info(file).format for file in files} == {"FLAC"}
        job_id = re.search(r"^job (\w+)$", done.err, re.MULTILINE)
        assert job_id is not None

        # Another time, without the track: what was made is still there.
        again = segue(
            "process", "--job", job_id[1][:12], "--tracks", "vocals,bass", "--out", tmp_path / "two"
        )
        assert again.status == 0, again.err
        assert sorted(file.name for file in (tmp_path / "two").iterdir()) == ["bass.flac", "vocals.flac"]

    def test_a_track_that_is_not_made_is_named_beside_those_that_are(
        self, segue: Segue, clip: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        done = segue("process", clip, "--out", out, "--tracks", "vocals,kazoo", *self.OPTIONS)
        assert done.status == 1
        assert "segue: no track kazoo; there are: " in done.err
        assert not out.exists()

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            ([], "process takes either a FILE or --job JOB"),
            (["song.wav", "--job", "j"], "process takes either a FILE or --job JOB"),
            (
                ["--job", "j", "--format", "mp3"],
                "with --job nothing is begun, so it takes no options but --tracks and --out",
            ),
        ],
    )
    def test_arguments_that_do_not_go_together(
        self, segue: Segue, tmp_path: Path, arguments: list[str], sentence: str
    ) -> None:
        done = segue("process", *arguments, "--out", tmp_path)
        assert (done.status, done.err) == (2, f"segue: {sentence}\n")


class TestListening:
    def test_a_player_gets_the_nodes_audio_and_nothing_is_left(
        self, segue: Segue, chain_id: str, chain: Callable[[], dict[str, Any]], tmp_path: Path
    ) -> None:
        player = tmp_path / "player"
        player.write_text(f'#!/bin/sh\necho "$2" > {tmp_path}/path; cat "$2" > {tmp_path}/heard.wav\n')
        player.chmod(0o755)
        assert segue("listen", chain_id, chain()["root_id"], "--player", f"{player} -q").status == 0
        assert soundfile.info(tmp_path / "heard.wav").frames == 2 * RATE_HZ
        assert not Path((tmp_path / "path").read_text().strip()).exists()

    def test_a_pipe_gets_a_node_while_it_is_made(
        self, server: RealSegue, segue: Segue, chain_id: str
    ) -> None:
        node_id = segue("continue", chain_id, "--duration", "0.5", "--no-watch").out.strip()
        command = [sys.executable, "-m", "segue_client.cli", "--url", server.url, "listen", chain_id, node_id]
        heard = subprocess.run([*command, "--stdout"], capture_output=True, check=True).stdout
        assert soundfile.info(io.BytesIO(heard)).frames == RATE_HZ // 2

    def test_a_take_that_is_cancelled_before_it_sounds_is_told(
        self, segue: Segue, chain_id: str, chain: Callable[[], dict[str, Any]]
    ) -> None:
        node_id = segue("continue", chain_id, "--prompt", "slow", "--no-watch").out.strip()
        segue("cancel", nodes(chain())[node_id]["job_id"])
        done = segue("listen", chain_id, node_id, "--stdout")
        assert done.status == 1
        assert re.fullmatch(r"segue: [^\n]+\n", done.err)

    @pytest.mark.parametrize(
        ("player", "status", "said"),
        [
            (None, 1, "--player"),
            ("nonesuch -q", 1, "there is no program nonesuch"),
            (" ", 1, "there is no program"),
            ("'play", 2, "a quotation is not closed"),
        ],
    )
    def test_without_a_player_it_says_what_to_do(
        self,
        segue: Segue,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        player: str | None,
        status: int,
        said: str,
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        done = segue("listen", "chain", "node", *([] if player is None else ["--player", player]))
        assert done.status == status
        assert said in done.err
        assert len(done.err.splitlines()) == 1


class TestLists:
    def test_show_draws_what_is_known_of_each_node(
        self, segue: Segue, server: RealSegue, chain_id: str, chain: Callable[[], dict[str, Any]]
    ) -> None:
        kept = take(segue, chain_id, "--seed", "42", "--prompt", "warm\tpads")
        segue("commit", chain_id, kept)
        failed = segue("continue", chain_id, "--prompt", "fail", "--seed", "3").out.strip()
        segue("discard", chain_id, failed)
        server.do(lambda app: app.rest())
        root = nodes(chain())[chain()["root_id"]]["analysis"]
        assert segue("show", chain_id).out.splitlines() == [
            f"Night drive  chain {chain_id}",
            f"● {chain()['root_id'][:8]}  2.0 s  ready, committed  "
            f"{root['bpm']:.1f} bpm, {root['key']}  Night drive.wav",
            f"● {kept[:8]}  0.5 s  ready, committed  seed 42  “warm pads”",
            f"  └─× {failed[:8]}  10.0 s  failed, discarded  seed 3  “fail”  this cannot be played",
            f"spine: 2 nodes, 2.5 s, version {chain()['version']}, {RATE_HZ} Hz, stereo",
        ]

    def test_chains_have_their_lengths(
        self, segue: Segue, chain_id: str, chain: Callable[[], dict[str, Any]]
    ) -> None:
        take(segue, chain_id)  # no part of the line
        assert segue("rename", chain_id, "Night\x1b[2J").status == 0
        lines = segue("chains").out.splitlines()
        assert f"{chain_id[:8]}  {chain()['updated_at']}  2.0 s  2 nodes  Night [2J" in lines

    def test_a_damaged_chain_is_listed_as_such_and_can_be_deleted(
        self, segue: Segue, server: RealSegue, chain_id: str
    ) -> None:
        server.do(lambda app: _damage(app, paths.chain("local", chain_id)))
        [line] = [line for line in segue("chains").out.splitlines() if line.startswith(chain_id[:8])]
        assert "  damaged: " in line
        shown = segue("show", chain_id[:12])
        assert shown.status == 1
        assert re.fullmatch(r"segue: [^\n]+\n", shown.err)
        assert segue("delete", chain_id[:12]).out == f"deleted {chain_id}; a damaged chain\n"
        assert chain_id[:8] not in segue("chains").out

    def test_a_damaged_job_is_listed_as_such(
        self, segue: Segue, server: RealSegue, chain_id: str, chain: Callable[[], dict[str, Any]]
    ) -> None:
        node_id = take(segue, chain_id)
        job_id = nodes(chain())[node_id]["job_id"]
        server.do(lambda app: app.rest())
        server.do(lambda app: _damage(app, paths.job("local", job_id)))
        [line] = [line for line in segue("jobs").out.splitlines() if line.startswith(job_id[:8])]
        assert "  damaged: " in line

    def test_models_of_all_kinds(self, segue: Segue) -> None:
        music, stems, analysis = segue("models").out.splitlines()
        assert re.match(r"music     mock  default  ready  .*32000 Hz, mono", music)
        assert re.match(r"stems     mock  default  ready  .*44100 Hz, stereo", stems)
        assert re.match(r"analysis  \S+  (default  )?ready", analysis)


async def _damage(app: Running, key: str) -> None:
    await app.store.put(key, (await app.store.get(key)).data[:40])


class TestRenamingAndDeleting:
    def test_rename(self, segue: Segue, chain_id: str, chain: Callable[[], dict[str, Any]]) -> None:
        assert segue("rename", chain_id[:12], "Später").out == f"renamed {chain_id}; “Später”\n"
        assert chain()["title"] == "Später"
        done = segue("rename", chain_id, "x" * 201)
        assert done.status == 1
        assert "200" in done.err

    def test_delete(self, segue: Segue, chain_id: str) -> None:
        done = segue("delete", chain_id[:12])
        assert (done.status, done.out) == (0, f"deleted {chain_id}; “Night drive”, 1 node\n")
        assert segue("show", chain_id).status == 1
        assert segue("delete", chain_id) == Outcome(1, "", f"segue: no chain {chain_id}\n")

    @pytest.mark.parametrize(("answer", "status"), [("y\n", 0), ("\n", 1), ("n\n", 1), ("", 1)])
    def test_on_a_terminal_it_asks_first(
        self, segue: Segue, chain_id: str, monkeypatch: pytest.MonkeyPatch, answer: str, status: int
    ) -> None:
        class Keyboard(io.StringIO):
            def isatty(self) -> bool:
                return True

        monkeypatch.setattr(sys, "stdin", Keyboard(answer))
        done = segue("delete", chain_id)
        assert done.status == status
        assert "Delete “Night drive”, 1 node, for good? [y/N]" in done.err
        assert segue("show", chain_id).status == (1 if status == 0 else 0)


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

    def test_the_url_comes_from_the_environment(
        self, server: RealSegue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("SEGUE_URL", raising=False)
        assert default_url() == DEFAULT_URL
        monkeypatch.setenv("SEGUE_URL", server.url)
        assert default_url() == server.url
        assert main(["models"]) == 0

    @pytest.mark.parametrize(
        "arguments",
        [
            [],
            ["sing"],
            ["export", "5a"],
            ["continue", "5a", "--mode", "x"],
            ["continue", "5a", "--duration", "nan"],
            ["continue", "5a", "--bpm", "inf"],
            ["continue", "5a", "--duration", "long"],
            ["continue", "5a", "--prompt", "\udcff"],
            ["rename", "5a", "\udcff"],
        ],
    )
    def test_wrong_usage(self, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
        assert "usage: segue" in capsys.readouterr().err

    def test_piped_output_is_plain_even_where_colours_are_wished_for(
        self, server: RealSegue, chain_id: str
    ) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "segue_client.cli", "--url", server.url, "show", chain_id],
            capture_output=True,
            env={**os.environ, "FORCE_COLOR": "1", "TTY_COMPATIBLE": "1", "PYTHONIOENCODING": "ascii"},
            check=True,
        )
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", done.stdout.decode())
        assert "2.0 s  ready, committed" in done.stdout.decode()

    def test_on_a_terminal_there_are_bars(self, server: RealSegue, chain_id: str) -> None:
        ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "segue_client.cli", "--url", server.url]
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "PYTHONIOENCODING": "utf-8"}
        environment.pop("NO_COLOR", None)
        with subprocess.Popen(
            [*command, "continue", chain_id, "--duration", "0.5"],
            stdout=subprocess.PIPE,
            stderr=theirs,
            env=environment,
        ) as process:
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
        assert re.fullmatch(r"\w{24}\n", out.decode())  # a pipe: ids and nothing else


def test_an_access_key_comes_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key"
    file.write_text("s3cret\n")
    monkeypatch.delenv("SEGUE_KEY", raising=False)
    assert access_key(None) is None
    assert access_key(file) == "s3cret"
    monkeypatch.setenv("SEGUE_KEY", "0ther")
    assert access_key(None) == "0ther"
    assert access_key(file) == "s3cret"
    for wrong in ("", "two words", "s\u00e9cret"):
        file.write_text(wrong)
        with pytest.raises(Misused):
            access_key(file)
