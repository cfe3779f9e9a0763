"""`memdb-ingest` against `memdb serve`, as processes, with the bundled networks on real pictures and
real speech."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import memdb_client
from memdb_client import NotFound, StoredClip
from perception.artefacts import ARTEFACTS
from perception.cli import EXIT_INTERRUPTED, EXIT_OTHER, EXIT_SOURCE, EXIT_UNAVAILABLE, EXIT_USAGE
from perception.encoders.text import BUNDLED_MODEL, BundledTextEncoder
from perception.errors import WeightsUnavailable
from perception.weights import fetch_many
from reasoner.demo.processes import free_port
from tests.e2e.test_server_process import serve
from tests.forked.command import ForkedCommand, run_command
from tests.unit.perception.films import SOUND_RATE_HZ, photo, speech, write_film

pytestmark = [pytest.mark.e2e, pytest.mark.weights, pytest.mark.timeout(240)]

START = "2026-03-01T09:00:00Z"
SCENES = ("chelsea.png", "coffee.png", "camera.png")
SCENE_S = 5
QUESTIONS = ("a cat", "a cup of coffee", "a camera on a tripod")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cat, a cup of coffee and a photographer, five seconds each, with phrases under them."""
    media = [f"scikit-image/{name}" for name in SCENES] + ["moonshine-voice/beckett.wav"]
    try:
        fetch_many([name for name, item in ARTEFACTS.items() if item.kind == "weights"] + media)
    except WeightsUnavailable as error:
        pytest.skip(str(error))
    scenes = [(photo(name), float(SCENE_S)) for name in SCENES]
    sound = speech("beckett.wav", SOUND_RATE_HZ)
    return write_film(tmp_path_factory.mktemp("film") / "film.mp4", scenes, sound)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serve(tmp_path_factory.mktemp("server") / "data") as process:
        yield process.address


def ingest(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run_command("perception.cli", *arguments, timeout_s=200)


def started(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The same by an interpreter of its own, for who looks at what is loaded."""
    return subprocess.run(
        [sys.executable, "-m", "perception.cli", *arguments],
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip


def summary(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def wait_until(is_true: Callable[[], bool], timeout_s: float) -> None:
    until_s = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < until_s, "it does not come to pass"
        time.sleep(0.1)


def made(clips: list[StoredClip]) -> list[tuple[Any, ...]]:
    """What the agent made of the film, whatever it was called."""
    return [
        (
            clip.seq,
            clip.start_ns,
            clip.end_ns,
            [utterance.text for utterance in clip.transcript],
            dict(clip.labels),
            clip.global_memory.tobytes(),
        )
        for clip in clips
    ]


def test_a_film_is_seen_and_heard_and_a_killed_ingest_resumes(address: str, film: Path) -> None:
    common = ("--server", address, "--user", "alice", "--start", START)
    done = started(*common, "--camera", f"porch={film}")
    (camera,) = summary(done)["cameras"]
    assert (camera["camera"], camera["clips"], camera["error"]) == ("porch", len(SCENES), None)
    assert (camera["acks"], camera["note"]) == (len(SCENES), None)
    assert camera["utterances"] == 6
    assert "memdb-ingest: loading models" in done.stderr

    with memdb_client.connect(address) as database:
        user = database.user("alice")
        assert database.space("bundled").model == BUNDLED_MODEL
        text_space = user.text_space()
        assert text_space is not None
        assert text_space.model == BUNDLED_MODEL
        clips = user.clips(stream="porch")
        assert all(clip.sealed for clip in clips)
        lengths_s = [(clip.end_ns - clip.start_ns) // 10**9 for clip in clips]
        assert lengths_s == [SCENE_S] * len(SCENES)

        # Things seen.
        features = BundledTextEncoder().encode(QUESTIONS)
        found = [user.ground(feature, limit=1).hits[0].clip.seq for feature in features]
        assert found == list(range(len(SCENES)))
        # Things said: at 8 s, in the second clip.
        heard = user.recall("fail better", limit=1).hits[0]
        assert heard.utterance is not None
        assert heard.utterance.text.lower().startswith("fail better")
        assert heard.clip is not None
        assert heard.clip.seq == 1

        # The same film by another name, killed in the middle.
        arguments = [*common, "--camera", f"study={film}"]
        child = ForkedCommand(
            "perception.cli",
            *(*arguments, "--realtime"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            study = user.stream("study")
            wait_until(lambda: study.ledger().next_seq > 0, 90)
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait(30)
        stopped_at = study.ledger().next_seq
        assert 0 < stopped_at < len(SCENES)
        (resumed,) = summary(ingest(*arguments))["cameras"]
        assert resumed["resumed_from_seq"] == stopped_at
        assert resumed["next_seq"] == len(SCENES)
        again = user.clips(stream="study")
        assert made(again) == made(clips)
        assert study.gaps() == []
        # A summary that cannot be written is an error in one line, not a traceback.
        with Path("/dev/full").open("w") as full:
            lost = run_command("perception.cli", *arguments, timeout_s=200, stdout=full)
        assert lost.returncode == EXIT_OTHER
        assert "memdb-ingest: OUTPUT_LOST" in lost.stderr.splitlines()[-1]
        for one, other in zip(
            user.short_memory([clip.id for clip in clips]),
            user.short_memory([clip.id for clip in again]),
            strict=True,
        ):
            assert np.array_equal(one, other)


def test_a_signal_is_told_and_other_footage_too(address: str, film: Path, tmp_path: Path) -> None:
    arguments = ["--server", address, "--user", "carol", "--start", START, "--no-audio"]
    child = ForkedCommand(
        "perception.cli",
        *(*arguments, "--camera", f"porch={film}", "--realtime"),
        stderr=subprocess.DEVNULL,
    )
    try:
        with memdb_client.connect(address) as database:
            porch = database.user("carol").stream("porch")
            wait_until(lambda: _next_seq(porch) > 1, 90)
        child.send_signal(signal.SIGINT)
        shown, _ = child.communicate(timeout=30)
    finally:
        child.kill()
        child.wait(30)
    assert child.returncode == EXIT_INTERRUPTED
    told = json.loads(shown)
    assert told["interrupted"] is True
    assert told["cameras"][0]["error"] is None

    other = write_film(tmp_path / "other.mp4", [(photo(SCENES[0]), 2.0)])
    done = ingest(*arguments, "--camera", f"porch={other}")
    assert (done.returncode, json.loads(done.stdout)["interrupted"]) == (EXIT_OTHER, False)
    (camera,) = json.loads(done.stdout)["cameras"]
    assert "OTHER_RECORDING" in camera["error"]
    assert re.search(r"this one ends before \d+\.0 s; other footage needs --epoch N", done.stderr)


def _next_seq(stream: Any) -> int:
    try:
        found: int = stream.ledger().next_seq
    except NotFound:
        return 0
    return found


def test_a_server_that_goes_away_is_told_and_waited_for(film: Path, tmp_path: Path) -> None:
    listen, told = f"127.0.0.1:{free_port()}", tmp_path / "told"
    arguments = ["--server", listen, "--user", "erin", "--camera", f"porch={film}", "--realtime"]
    with told.open("w") as stderr, serve(tmp_path / "data", listen=listen) as first:
        child = ForkedCommand("perception.cli", *arguments, "--no-audio", stderr=stderr)
        try:
            with memdb_client.connect(listen) as database:
                porch = database.user("erin").stream("porch")
                wait_until(lambda: _next_seq(porch) > 0, 90)
            first.process.kill()
            wait_until(lambda: "porch: waiting for the server, " in told.read_text(), 60)
            with serve(tmp_path / "data", listen=listen):
                shown, _ = child.communicate(timeout=90)
        finally:
            child.kill()
            child.wait(30)
    assert child.returncode == 0, told.read_text()
    assert "porch: the server acknowledges again" in told.read_text()
    (camera,) = json.loads(shown)["cameras"]
    assert (camera["clips"], camera["acks"]) == (len(SCENES), len(SCENES))


@pytest.mark.parametrize("after_s", [0.02, 0.3, 1.0])
def test_an_interrupt_while_starting_is_quiet(address: str, film: Path, after_s: float) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", SIGNALLED, "memdb-ingest", "--server", address, "--user", "dan",
         "--camera", f"porch={film}", "--realtime"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == "up\n"
    time.sleep(after_s)
    child.send_signal(signal.SIGINT)
    _, told = child.communicate(timeout=60)
    assert child.returncode == EXIT_INTERRUPTED, told
    assert "Traceback" not in told


SIGNALLED = """
import sys
sys.argv = sys.argv[1:]
from perception import cli
begun = cli._main
def begins(arguments):
    print("up", flush=True)
    return begun(arguments)
cli._main = begins
sys.exit(cli.main())
"""
"""The command as its script starts it, which first says that it has begun: before that an interrupt is Python's."""


def test_a_missing_extra_is_one_line(film: Path) -> None:
    block = "import sys; sys.modules['av'] = None; from perception.cli import main"
    block += "; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", block, "--server", "127.0.0.1:9", "--user", "a",
         "--camera", f"a={film}"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    told = 'memdb-ingest: av is not installed: this needs the extra "memdb[perception]"\n'
    assert done.stderr == told


def test_a_missing_file_is_told_before_anything_is_loaded(address: str) -> None:
    done = ingest("--server", address, "--user", "alice", "--camera", "porch=/nowhere/film.mp4")
    assert done.returncode == EXIT_SOURCE
    assert "/nowhere/film.mp4" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_server_that_is_not_there(film: Path) -> None:
    # As it is started: gRPC is to say nothing of its own.
    done = started("--server", "127.0.0.1:9", "--user", "alice", "--camera", f"porch={film}")
    assert done.returncode == EXIT_UNAVAILABLE
    assert "is memdb serve running there?" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--start", "yesterday"),
        ("--start", "2026-03-01T09:00:00"),
        ("--start", "2026-03-01"),
        ("--rate", "0"),
        ("--server", "localhost"),
        ("--real", "--real"),
    ],
)
def test_wrong_options(film: Path, option: str, value: str) -> None:
    done = ingest(
        "--server", "127.0.0.1:9", "--user", "alice", "--camera", f"porch={film}", option, value
    )
    assert done.returncode == EXIT_USAGE
    assert value in done.stderr
    assert "Traceback" not in done.stderr
