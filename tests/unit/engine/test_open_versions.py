"""A clip that is written again and again while it grows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from memdb import AlreadyExists, Clip, ResourceExhausted
from memdb.clock import ManualClock
from memdb.engine.database import EmbeddedDatabase
from memdb.store.environment import Environment
from memdb.store.schema import Table
from memdb.store.transaction import Transaction
from tests.unit.engine.conftest import CONFIG, DIM, SECOND_NS, clip


def grown(version: int, *, sealed: bool = False) -> Clip:
    memory = np.ones(DIM, np.float32)
    memory[0] = version
    return clip(0, global_memory=memory, end_ns=(version + 1) * SECOND_NS, sealed=sealed)


def test_a_version_does_not_read_all_before_it(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = 0
    scan = Transaction.scan

    def counted(
        txn: Transaction, table: Table, prefix: bytes = b"", *, after: bytes = b""
    ) -> Iterator[tuple[bytes, memoryview]]:
        nonlocal read
        for entry in scan(txn, table, prefix, after=after):
            read += table is Table.CLIPS
            yield entry

    monkeypatch.setattr(Transaction, "scan", counted)
    stream = db.user("alice").stream("door", space="cam")
    for version in range(60):
        stream.write(grown(version))
    assert read < 10


def test_a_late_copy_of_any_version_is_a_duplicate(folder: Path, clock: ManualClock) -> None:
    """As long as the clip grows, in a process that has not read it yet, and once it is sealed."""

    def opened() -> EmbeddedDatabase:
        return EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock)

    with opened() as db:
        db.create_space("cam", dim=DIM)
    for versions in (range(3), range(3, 6)):
        with opened() as db:
            stream = db.user("alice").stream("door", space="cam")
            for version in versions:
                assert stream.write(grown(version)).revision == version + 1
                for earlier in range(version + 1):
                    again = stream.write(grown(earlier))
                    assert (again.revision, again.duplicate) == (earlier + 1, True)
    with opened() as db:
        stream = db.user("alice").stream("door")
        assert stream.write(grown(6, sealed=True)).revision == 7
        assert all(stream.write(grown(earlier)).duplicate for earlier in range(6))
        with pytest.raises(AlreadyExists):
            stream.write(grown(7))


def test_what_was_not_committed_is_no_version(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = db.user("alice").stream("door", space="cam")
    for version in range(3):
        stream.write(grown(version))

    def full(*_: object, **__: object) -> None:
        raise ResourceExhausted("full", reason="DISK_FULL")

    with monkeypatch.context() as refusing:
        refusing.setattr(Environment, "write", full)
        refusing.setattr(Environment, "write_ready", full)
        with pytest.raises(ResourceExhausted):
            stream.write(grown(3))
    written = stream.write(grown(3))
    assert (written.revision, written.duplicate) == (4, False)
    assert stream.write(grown(3)).duplicate


def test_a_clip_that_grows_no_more_is_forgotten(db: EmbeddedDatabase) -> None:
    user = db.user("alice")
    for name in ("sealed", "erased"):
        stream = user.stream(name, space="cam")
        for version in range(3):
            ack = stream.write(grown(version))
        with db._users.use("alice") as memory:
            contents = memory._commits._versions._contents
            assert len(contents) == 1
        if name == "sealed":
            stream.write(grown(3, sealed=True))
            assert not contents
        else:
            user.erase_clips([ack.clip_id])
            with db._users.use("alice") as memory:
                assert not memory._commits._versions._contents
