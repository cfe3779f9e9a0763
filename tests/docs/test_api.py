"""docs/api.md tells everything public, as the docstrings say it, and its examples run as they stand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scripts.api import page
from scripts.api.page import Incomplete, Page
from scripts.api.reasons import reasons
from scripts.api.text import markdown
from tests.docs.blocks import python_blocks
from tests.e2e.serving import serving

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "api.md"


@pytest.fixture(scope="module")
def given() -> dict[str, list[str]]:
    """The reasons that the sources give their errors."""
    return reasons(page._raising())


@pytest.fixture(autouse=True)
def sources_are_read_once(given: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by each page anew: that is most of what one takes."""
    monkeypatch.setattr(page, "reasons", lambda _: given)


def test_the_page_is_what_the_docstrings_say() -> None:
    assert PAGE.read_text("utf-8") == Page().text()


def test_the_examples_are_one_program_that_runs(tmp_path: Path) -> None:
    program = "\n".join(python_blocks(PAGE))
    # A name in the program's own directory, since the name of a socket has no more than 107 bytes.
    socket = tmp_path / "memdb.sock"
    with serving(tmp_path / "served", listen=f"unix:{socket}"):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("word", "name"), [(" Ack ", "memdb.Ack"), (" write_many ", "Stream.write_many")]
)
def test_a_name_that_is_left_out_is_an_error(
    word: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = page.TEMPLATE.read_text("utf-8")
    assert frame.count(word) == 1
    monkeypatch.setattr(page, "TEMPLATE", tmp_path / "page.md")
    page.TEMPLATE.write_text(frame.replace(word, " "), "utf-8")
    with pytest.raises(Incomplete, match=f"leaves out {name}"):
        Page().text()


def test_a_name_that_is_told_twice_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = page.TEMPLATE.read_text("utf-8")
    monkeypatch.setattr(page, "TEMPLATE", tmp_path / "page.md")
    page.TEMPLATE.write_text(frame + "\n{{ values Clip }}\n", "utf-8")
    with pytest.raises(Incomplete, match=r"twice.*memdb\.Clip"):
        Page().text()


def test_parameters_and_errors_stand_apart() -> None:
    doc = """Do it.

    left, right: (dim,) each.  Both are
    needed.  least: a score; none: any.  Raises `NotFound` (``GONE``).
    """
    assert markdown(doc, ("left", "right", "least")).splitlines() == [
        "Do it.",
        "",
        "- `left`, `right`: (dim,) each. Both are needed.",
        "- `least`: a score; none: any.",
        "",
        "**Raises** `NotFound` (`GONE`).",
    ]


def test_reasons_are_found_however_they_are_given(tmp_path: Path) -> None:
    source = tmp_path / "source.py"
    source.write_text(
        "FULL = 'DISK_FULL'\n"
        "def one(x):\n    raise NotFound('no', reason='A_GONE' if x else 'B_GONE')\n"
        "def two():\n    raise ResourceExhausted('no', reason=FULL)\n"
        "def three(value, why):\n    raise InvalidArgument('no', reason=why)\n"
        "def four(self):\n    three(1, 'BAD_FOUR')\n    three(1, why='BAD_FIVE')\n"
        "class Six:\n    size: int\n    code: str\n"
        "    def read(self):\n        raise DataLoss('no', reason=self.code)\n"
        "SIX = Six(1, 'BAD_SIX')\n"
    )
    found = reasons([source])
    assert found["NotFound"] == ["A_GONE", "B_GONE", "NOT_FOUND"]
    assert found["ResourceExhausted"] == ["DISK_FULL", "RESOURCE_EXHAUSTED"]
    assert found["DataLoss"] == ["BAD_SIX", "DATA_LOSS"]
    assert found["InvalidArgument"] == ["BAD_FIVE", "BAD_FOUR", "INVALID_ARGUMENT"]
