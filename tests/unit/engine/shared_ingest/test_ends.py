"""The end of a writer, of its user, its database or its process: nothing of it stays."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from memdb import Unavailable
from memdb.engine.database import EmbeddedDatabase
from tests.unit.engine.conftest import CONFIG, DIM, clip
from tests.unit.engine.shared_ingest.cameras import PATIENCE_S, camera, threads


def test_users_are_closed_to_make_room_and_erased_beside_their_writers(folder: Path) -> None:
    config = replace(CONFIG, open_users_max=1)
    with EmbeddedDatabase(folder / "data", config=config) as db:
        db.create_space("cam", dim=DIM)
        alice, bob = db.user("alice"), db.user("bob")
        with camera(alice, "door") as hers, camera(bob, "door") as his:
            for seq in range(30):
                hers.send(clip(seq))
                his.send(clip(seq))
                if seq % 7 == 0:
                    hers.flush()
                    his.flush()
                    assert db.user("carol").put("k", seq) == seq // 7 + 1
            his.flush()
            bob.erase()
            his.send(clip(30))
        assert [c.seq for c in alice.clips()] == list(range(30))
        assert [c.seq for c in bob.clips()] == [30]
        assert threads() == []


def test_a_database_is_closed_beside_its_writers(folder: Path) -> None:
    db = EmbeddedDatabase(folder / "data", config=CONFIG)
    db.create_space("cam", dim=DIM)
    user = db.user("alice")
    writers = [camera(user, f"camera-{n}") for n in range(3)]
    for writer in writers:
        writer.send(clip(0))
        writer.flush()
    db.close()
    for writer in writers:
        with suppress(Unavailable):
            writer.send(clip(1))
        for call in (writer.flush, writer.close):
            with pytest.raises(Unavailable) as caught:
                call()
            assert caught.value.reason == "CLOSED"
        writer.close()
        assert writer.acks == 1
    assert threads() == []


def test_leaving_by_an_error_waits_for_what_is_being_written_alone(db: EmbeddedDatabase) -> None:
    user = db.user("alice")
    with suppress(LookupError), camera(user, "door") as writer:
        writer.send(clip(0))
        writer.flush()
        writer.send(clip(1))
        raise LookupError
    assert threads() == []
    assert writer.acks in (1, 2)
    assert [c.seq for c in user.clips()] in ([0], [0, 1])


def test_a_writer_that_nobody_has_any_more_keeps_no_thread(db: EmbeddedDatabase) -> None:
    writer = camera(db.user("alice"), "door")
    writer.send(clip(0))
    shared = writer._shared
    del writer
    gc.collect()
    for thread in threads():
        thread.join(PATIENCE_S)
    assert len(db.user("alice").clips()) == 1
    # Threads that ended begin again.
    with camera(db.user("alice"), "door") as again:
        assert again._shared is shared
        again.send(clip(1))
        assert len(again.flush()) == 1


def test_no_thread_to_be_had(db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with camera(db.user("alice"), "door") as writer:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            with pytest.raises(RuntimeError):
                writer.send(clip(0))
            assert writer.flush() == []
        writer.send(clip(0))
        assert len(writer.flush()) == 1


FORGETFUL = """
import sys
import memdb
from tests.unit.engine.conftest import clip
db = memdb.open(sys.argv[1])
db.create_space("cam", dim=8)
writer = db.user("alice").stream("door", space="cam").ingest()
for seq in range(21):
    writer.send(clip(seq))
"""
FORKED = """
import os, sys
import memdb
from memdb import FailedPrecondition
from tests.unit.engine.conftest import clip
db = memdb.open(sys.argv[1])
db.create_space("cam", dim=8)
writer = db.user("alice").stream("door", space="cam").ingest()
writer.send(clip(0))
writer.flush()
writer.send(clip(1))
pid = os.fork()
if not pid:
    told = []
    for call in (lambda: writer.send(clip(2)), writer.flush, writer.close):
        try:
            call()
        except FailedPrecondition as error:
            told.append(error.reason)
    writer.close()
    os._exit(0 if told == ["FORKED"] * len(told) and told else 1)
assert os.waitpid(pid, 0)[1] == 0
writer.close()
assert writer.acks == 2
"""


@pytest.mark.parametrize(("program", "clips"), [(FORGETFUL, 21), (FORKED, 2)])
def test_a_process(folder: Path, program: str, clips: int) -> None:
    """One that forgets to close its writer ends, with all of it written; of one that forks the child has none."""
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder / "data")],
        timeout=PATIENCE_S,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with EmbeddedDatabase(folder / "data") as db:
        assert [c.seq for c in db.user("alice").clips()] == list(range(clips))
