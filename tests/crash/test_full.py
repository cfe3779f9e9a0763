"""`make crash` runs everything that is here, each thing once."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from tests.crash.full import HAS_EDGE, Piece, cores, pieces, workers
from tests.crash.part import Part
from tests.crash.processes import ROOT

pytestmark = pytest.mark.crash


def test_every_test_is_in_one_piece() -> None:
    files = [str(path.relative_to(ROOT)) for path in (ROOT / "tests" / "crash").glob("test_*.py")]
    machines = ("engine", "server", *(("shelf",) if HAS_EDGE else ()))
    files += [f"tests/property/test_{name}_machine.py" for name in machines]
    taken = Counter(
        test for piece in pieces() if piece.part in _first(piece) for test in piece.tests
    )
    assert set(taken.values()) == {1}
    for file in files:
        if file in taken:
            assert not any(test.startswith(f"{file}::") for test in taken)
            continue
        text = (ROOT / file).read_text("utf-8")
        names = re.findall(r"^def (test_\w+)|^(Test\w+) = ", text, re.MULTILINE)
        assert names
        assert {f"{file}::{one or other}" for one, other in names} == {
            test for test in taken if test.startswith(f"{file}::")
        }


def _first(piece: Piece) -> tuple[str, str]:
    """What the part of a piece is where it is whole, and where it is the first."""
    return "", f"0/{piece.part.rpartition('/')[2]}"


def test_the_longest_come_first() -> None:
    minutes = [piece.minutes for piece in pieces()]
    assert minutes == sorted(minutes, reverse=True)


def test_pieces_that_wait_leave_no_core_idle() -> None:
    assert [workers(count) for count in (1, 2, 3, 4, 16)] == [2, 3, 5, 6, 24]
    assert cores() >= 1


@pytest.mark.parametrize("count", [0, 1, 7, 2000])
@pytest.mark.parametrize("of", [1, 3, 8])
def test_parts_add_up(count: int, of: int) -> None:
    parts = [Part(number, of) for number in range(of)]
    assert sum(part.share(count) for part in parts) == count
    assert sorted(thing for part in parts for thing in part.among(range(count))) == list(
        range(count)
    )


def test_a_part_that_is_none_is_refused() -> None:
    assert Part.parse("") == Part()
    assert str(Part.parse("2/3")) == ", part 2/3"
    for text in ("3/3", "-1/3", "1/0"):
        with pytest.raises(ValueError, match="no such part"):
            Part.parse(text)
