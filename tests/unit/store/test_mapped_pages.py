"""Pages of a file that reads brought in do not stay this process's memory."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import memdb
from memdb import Clip
from memdb.config import EngineConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.store import mapped
from memdb.store.gate import Gate
from memdb.store.schema import DATA_FILE

CLIPS = 240
TOKENS = (np.arange(64 * 1536) % 1999).astype(np.float16).reshape(64, 1536)


def resident_kib(path: Path) -> int:
    """What of a mapped file is this process's memory."""
    total, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        key, _, rest = line.partition(":")
        if "-" in key.split(" ", 1)[0]:
            inside = line.endswith(str(path))
        elif inside and key == "Rss":
            total += int(rest.split()[0])
    return total


@pytest.fixture
def db() -> Iterator[EmbeddedDatabase]:
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="memdb-", dir=memory if memory.is_dir() else None))
    config = EngineConfig(map_bytes_initial=1 << 28, disk_free_bytes_min=1 << 20)
    with EmbeddedDatabase(folder / "data", config=config) as opened:
        opened.create_space("cam", dim=1536)
        door = opened.user("alice").stream("door", space="cam")
        rng = np.random.default_rng(3)
        for first in range(0, CLIPS, 40):
            door.write_many(
                [
                    Clip(
                        seq=seq,
                        start_ns=seq,
                        end_ns=seq + 1,
                        global_memory=rng.standard_normal(1536).astype(np.float16),
                        short_memory=TOKENS,
                    )
                    for seq in range(first, first + 40)
                ]
            )
        yield opened
    shutil.rmtree(folder)


def test_what_many_reads_brought_in_is_let_go(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = db.user("alice")
    with user.memory() as memory:
        file = memory.environment.path / DATA_FILE
    monkeypatch.setattr(mapped, "MAPPED_BYTES_MAX", 16 << 20)
    most = 0
    for clip in user.clips(limit=CLIPS):
        (tokens,) = user.short_memory([clip.id])
        assert np.array_equal(tokens, TOKENS)
        most = max(most, resident_kib(file))
    # 192 KiB each, and what lies around them and their records; all of them, if none were let go.
    assert 0 < most <= 16 << 10


def test_a_file_that_is_smaller_than_what_may_stay_is_not_mapped_anew(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = db.user("alice")
    with user.memory() as memory:
        size = memory.environment.data_bytes()
    calls: list[int] = []
    monkeypatch.setattr(mapped.MappedFile, "_map_anew", lambda _, map_size: calls.append(map_size))
    for is_small in (True, False):
        monkeypatch.setattr(mapped, "MAPPED_BYTES_MAX", size + (1 if is_small else 0))
        for _ in range(2):
            for clip in user.clips(limit=CLIPS):
                user.short_memory([clip.id])
        assert bool(calls) != is_small


def test_what_a_read_takes_is_counted_by_its_bytes(db: EmbeddedDatabase) -> None:
    user = db.user("alice")
    ids = [clip.id for clip in user.clips(limit=2)]
    with user.memory() as memory:
        environment = memory.environment
        before = environment._mapped._touched
        user.short_memory(ids[:1])
        one = environment._mapped._touched - before
        user.get("nothing")
        assert environment._mapped._touched - before - one < one // 2
        # The tensor, its record, and what lies around each.
        assert TOKENS.nbytes < one <= TOKENS.nbytes + (256 << 10)


def test_reads_go_on_beside_it(db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped, "MAPPED_BYTES_MAX", 400_000)
    user = db.user("alice")
    ids = [clip.id for clip in user.clips(limit=CLIPS)]
    failures: list[BaseException] = []

    def read(seed: int) -> None:
        rng = np.random.default_rng(seed)
        try:
            for _ in range(150):
                (tokens,) = user.short_memory([ids[int(rng.integers(CLIPS))]])
                assert np.array_equal(tokens, TOKENS)
        except BaseException as error:
            failures.append(error)

    def write() -> None:
        try:
            for number in range(60):
                user.put("k", number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    threads.append(threading.Thread(target=write))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert user.get("k") == 59


def test_an_answer_stands_though_the_file_cannot_be_mapped_anew(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped, "MAPPED_BYTES_MAX", 1)
    user = db.user("alice")
    user.put("k", 1)

    def refuse(self: object, map_size: int) -> None:
        raise memdb.Unavailable("no room", reason="OPEN_FAILED")

    with monkeypatch.context() as patched:
        patched.setattr(mapped.MappedFile, "_map_anew", refuse)
        assert user.get("k") == 1
    assert user.get("k") == 1


def test_who_leaves_owns_the_gate_where_nobody_is_inside() -> None:
    gate = Gate()
    gate.enter()
    gate.enter()
    assert not gate.leave_owning()
    assert gate.leave_owning()
    passed = threading.Event()

    def pass_by() -> None:
        with gate.passing():
            passed.set()

    thread = threading.Thread(target=pass_by)
    thread.start()
    assert not passed.wait(0.05)
    gate.disown()
    assert passed.wait(5)
    thread.join()
    # Not where somebody waits to own it.
    gate.enter()
    owned = threading.Event()

    def own() -> None:
        with gate.owned():
            owned.set()

    thread = threading.Thread(target=own)
    thread.start()
    while not gate._owned:
        pass
    assert not gate.leave_owning()
    assert owned.wait(5)
    thread.join()
