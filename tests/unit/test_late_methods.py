"""Dataclasses whose methods are made late are as those of Python in everything that they do."""

from __future__ import annotations

import copy
import dataclasses
import subprocess
import sys
import threading
from types import ModuleType
from typing import Any

import pytest

from memdb import late_methods
from memdb.late_methods import MAKER, make_methods_late

pytestmark = pytest.mark.skipif(
    sys.version_info >= (3, 13), reason="Python compiles once a class by itself"
)

SOURCE = """
from dataclasses import dataclass, field

@dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int = 2
    tags: list = field(default_factory=list, compare=False)

    def __post_init__(self):
        if self.x < 0:
            raise ValueError("x")

@dataclass(frozen=True, slots=True)
class Deep(Point):
    z: int = 3

@dataclass(slots=True, order=True)
class Open:
    a: int
    b: "Open | None" = None

@dataclass(frozen=True, slots=True, eq=False)
class Same:
    a: int
"""


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of ours with such classes."""
    monkeypatch.setattr(dataclasses, MAKER, getattr(dataclasses, MAKER))  # as it was, afterwards
    assert make_methods_late()
    assert make_methods_late(), "it is asked for once more"
    module = ModuleType("memdb.of_a_test")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(SOURCE, module.__dict__)
    return module


def is_late(method: Any) -> bool:
    return bool(method.__code__.co_filename == late_methods.__file__)


def test_they_are_made_when_they_are_first_called(late: ModuleType) -> None:
    assert all(is_late(getattr(late.Point, name)) for name in ("__init__", "__eq__", "__hash__"))
    one = late.Point(1)
    assert not is_late(late.Point.__init__)
    assert is_late(late.Point.__eq__)
    assert one == late.Point(1, 2)
    assert not is_late(late.Point.__eq__)
    assert late.Point.__init__.__qualname__ == "Point.__init__"


def test_what_they_do_is_what_they_do(late: ModuleType) -> None:
    one, deep = late.Point(1, tags=[5]), late.Deep(1, z=4)
    assert (one.x, one.y, one.tags, deep.y, deep.z) == (1, 2, [5], 2, 4)
    assert repr(one) == repr(one) == "Point(x=1, y=2, tags=[5])"
    assert repr(deep) == "Deep(x=1, y=2, tags=[], z=4)"
    assert one == late.Point(1)
    assert one != deep
    assert one != late.Point(2)
    assert hash(one) == hash(late.Point(1))
    assert len({one, late.Point(1), deep, late.Deep(1, z=4)}) == 2
    assert dataclasses.asdict(one) == {"x": 1, "y": 2, "tags": [5]}
    assert dataclasses.replace(deep, x=7) == late.Deep(7, z=4)
    assert copy.deepcopy(deep) == deep
    assert late.Open(1) < late.Open(2) <= late.Open(2)
    assert late.Same(1) != late.Same(1)
    assert late.Same.__hash__ is object.__hash__
    ring = late.Open(1)
    ring.b = ring
    assert repr(ring) == "Open(a=1, b=...)"


def test_what_they_refuse_they_refuse(late: ModuleType) -> None:
    one, deep = late.Point(1), late.Deep(1)
    for made in (one, deep, one):
        with pytest.raises(dataclasses.FrozenInstanceError, match="x"):
            made.x = 3
        with pytest.raises(dataclasses.FrozenInstanceError, match="y"):
            del made.y
    for _ in range(2):
        with pytest.raises(ValueError, match="x"):
            late.Point(-1)
        with pytest.raises(
            TypeError, match=r"Deep\.__init__\(\) got an unexpected keyword argument 'w'"
        ):
            late.Deep(1, w=2)
    with pytest.raises(TypeError):
        hash(late.Open(1))


def test_two_threads_may_be_the_first(late: ModuleType) -> None:
    together = threading.Barrier(4)
    made: list[Any] = []

    def make(number: int) -> None:
        together.wait()
        made.append(late.Deep(number))

    threads = [threading.Thread(target=make, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.x for one in made) == [0, 1, 2, 3]


def test_those_of_others_are_left_alone(late: ModuleType) -> None:
    @dataclasses.dataclass(frozen=True)
    class Theirs:
        x: int

    assert not is_late(Theirs.__init__)
    assert Theirs(1) == Theirs(1)


def test_a_python_without_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(dataclasses, MAKER)
    assert not make_methods_late()


def test_programs_have_it_and_libraries_do_not() -> None:
    code = """
import dataclasses, memdb
before = dataclasses._create_fn
from memdb.cli.main import main
import memdb.types.clip
assert dataclasses._create_fn is before, "a library leaves it alone"
assert memdb.types.clip.Clip.__init__.__code__.co_filename == "<string>"
try:
    main(["config", "print"])
except SystemExit:
    pass
assert dataclasses._create_fn is not before
import memdb.engine.listed
print(memdb.engine.listed.ListedStream.__init__.__code__.co_filename)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=True
    )
    assert done.stdout.splitlines()[-1].endswith("late_methods.py")
