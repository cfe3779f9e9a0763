"""One user's answers without Python are the same bytes whatever another does, and whether or not it lies ready.

Bob has the same streams, clips and times as Alice, and more of them.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import memdb
from memdb import MemdbError, NotFound
from memdb.config import EngineConfig
from memdb.types.database import User
from tests.e2e.ready import GROUND, HANGS_S, ask_until, for_python, plain
from tests.e2e.serving import DIM, SECOND_NS, Served, clip, serving, vector

pytest.importorskip("memdb_edge", reason="the native edge is not installed")

pytestmark = pytest.mark.e2e

CLIPS = 12
QUESTIONS: dict[str, dict[str, Any]] = {
    "the usual": {},
    "all": {"limit": 32},
    "one": {"limit": 1},
    "a stream": {"streams": ["door"], "limit": 32},
    "times": {"start_ns": 20 * SECOND_NS, "end_ns": 70 * SECOND_NS, "limit": 32},
    "light": {"without_global_memory": True, "without_keyframes": True, "limit": 32},
}


def questions(user: str) -> dict[str, bytes]:
    return {
        f"{name} of {seed}": plain(user, vector(seed), **fields)
        for name, fields in QUESTIONS.items()
        for seed in (3, 40)
    }


def live(user: User, clips: int) -> None:
    for name in ("door", "yard"):
        user.stream(name, space="cam").write_many([clip(seq) for seq in range(clips)])
    user.stream("door").write(clip(clips, sealed=False))
    user.remember("it rains")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With ``alone`` and ``both``."""
    made = tmp_path_factory.mktemp("isolation")
    with memdb.open(made / "alone") as db:
        db.create_space("cam", dim=DIM)
        live(db.user("alice"), CLIPS)
    shutil.copytree(made / "alone", made / "both")
    with memdb.open(made / "both") as db:
        live(db.user("bob"), 4 * CLIPS)
    return made


def answers(served: Served, user: str = "alice") -> dict[str, bytes]:
    """By Python, by whoever answers, and once the user lies ready: the same."""
    call: Any = served.channel.unary_unary(GROUND)
    asked = questions(user)

    def told(data: bytes) -> bytes:
        return bytes(call(data, timeout=HANGS_S))

    found = {name: told(for_python(data)) for name, data in asked.items()}
    for _ in range(8):
        assert {name: told(data) for name, data in asked.items()} == found
    return found


def ready(served: Served, user: str = "alice") -> None:
    """Ask until the user lies ready, with and without the parts of its clips."""
    call: Any = served.channel.unary_unary(GROUND)
    shelf = served.server._shelf
    assert shelf is not None
    for name in ("the usual of 3", "light of 3"):
        data = questions(user)[name]
        ask_until(
            lambda data=data: call(data, timeout=HANGS_S),  # type: ignore[misc]
            lambda data=data: shelf.native.answer(data) is not None,  # type: ignore[misc]
        )


@pytest.fixture(scope="module")
def alone(folder: Path) -> dict[str, bytes]:
    """What Alice is answered where there was never a Bob."""
    with serving(folder / "alone", edge="native") as served:
        found = answers(served)
        ready(served)
        assert answers(served) == found
    return found


@contextmanager
def busy(served: Served) -> Iterator[None]:
    """Bob writes and asks meanwhile."""
    stop = threading.Event()

    def work() -> None:
        user, seq = served.database.user("bob"), 4 * CLIPS
        call: Any = served.channel.unary_unary(GROUND)
        while not stop.is_set():
            try:
                user.stream("door", space="cam").write(clip(seq))
                for data in questions("bob").values():
                    call(data, timeout=HANGS_S)
            except MemdbError:
                stop.wait(0.01)
            seq += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("open_users_max", [256, 1])
def test_another_is_there(
    folder: Path, tmp_path: Path, alone: dict[str, bytes], open_users_max: int
) -> None:
    data = Path(shutil.copytree(folder / "both", tmp_path / "both"))
    engine = EngineConfig(open_users_max=open_users_max)
    with serving(data, engine, edge="native") as served:
        bob = answers(served, "bob")
        assert answers(served) == alone
        if open_users_max > 1:
            ready(served, "bob")
            ready(served)
            shelf = served.server._shelf
            assert shelf is not None
            assert shelf.native.users == 4
        assert answers(served) == alone
        assert answers(served, "bob") == bob
        assert not set(bob.values()) & set(alone.values())
        with busy(served):
            assert answers(served) == alone
        served.database.user("bob").erase()
        assert answers(served) == alone
        with pytest.raises(NotFound):
            served.database.user("bob").revision()
        live(served.database.user("bob"), CLIPS)  # another of the name
        assert answers(served) == alone
        assert not set(answers(served, "bob").values()) & set(bob.values())
