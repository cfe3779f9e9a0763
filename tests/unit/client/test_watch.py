"""Following changes over a connection that breaks, and letting go of it."""

from __future__ import annotations

import gc
import threading
import time
from typing import Any

import pytest

from memdb.errors import InvalidArgument, NotFound, Unavailable
from memdb.types.change import Change
from memdb.types.database import Database
from memdb_client import _rpc, connect
from memdb_client._connection import Connection
from memdb_client._options import Target
from tests.unit.client.conftest import Connect
from tests.unit.client.peer import Peer, Script

ALL = [f"{revision}.{index}" for revision in range(1, 6) for index in (0, 1)]


def test_a_broken_watch_goes_on_where_it_stopped(db: Database, script: Script) -> None:
    script.watch_breaks = 2

    keys = [change.key for change in db.user("alice").watch(follow=False)]

    assert keys == ALL
    assert script.calls == 3


def test_a_user_that_was_made_anew_while_a_watch_was_broken_is_another(
    db: Database, script: Script
) -> None:
    """Its commits have the same numbers; those that the watch had passed would never be told."""
    script.watch_breaks, script.made_anew = 1, True
    changes = db.user("alice").watch(follow=False)

    assert [next(changes).key for _ in range(5)] == ALL[:5]
    with pytest.raises(NotFound) as caught:
        next(changes)

    assert caught.value.reason == "USER_NOT_FOUND"
    assert "made anew" in caught.value.message


def test_the_place_that_it_begins_at_is_looked_at_however_often_it_is_asked(
    db: Database, script: Script
) -> None:
    """The server that was asked first may be gone before it looked."""
    script.watch_breaks = 2
    script.revisions = 3

    watched = db.user("alice").watch(from_revision=2, revision_time_ns=1, follow=False)

    assert [change.key for change in watched] == ["3.0", "3.1"]
    asked = [
        (
            request.from_revision,
            request.revision_time_ns if request.HasField("revision_time_ns") else None,
        )
        for request in script.watches
    ]
    # Behind a change that was told its commit comes again, and is looked at as it does.
    assert asked == [(2, 1), (2, None), (2, None)]


def test_it_begins_after_the_revision_asked(db: Database) -> None:
    changes = list(db.user("alice").watch(from_revision=3, follow=False))

    assert [change.key for change in changes] == ALL[6:]


def test_a_closed_iterator_lets_its_call_go(db: Database, script: Script) -> None:
    changes = db.user("alice").watch()
    assert next(iter(changes)).key == "1.0"
    assert script.live_watches == 1

    changes.close()  # type: ignore[attr-defined] # a generator

    deadline_s = time.monotonic() + 30
    while script.live_watches and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert script.live_watches == 0


def test_it_gives_up_after_the_timeout(connect_to: Connect, script: Script) -> None:
    with connect_to(f"127.0.0.1:{_gone(script)}", timeout_s=0.5) as db, pytest.raises(Unavailable):
        list(db.user("alice").watch())


def test_an_idle_watch_outlives_its_server(connect_to: Connect, script: Script) -> None:
    """It was told nothing for longer than a call may take, and then the server was restarted."""
    timeout_s = 2.0
    first = Peer(script)
    with connect_to(first.address, timeout_s=timeout_s) as db:
        changes = db.user("alice").watch(from_revision=5)
        keys: list[str | None] = []
        watcher = threading.Thread(target=lambda: keys.append(next(iter(changes)).key))
        watcher.start()
        time.sleep(timeout_s + 0.2)  # the silence itself is what is tested
        first.stop()
        with Peer(script, first.port):
            script.revisions = 6
            watcher.join(10)
            assert keys == ["6.0"]
            changes.close()  # type: ignore[attr-defined] # a generator


def test_one_that_is_collected_while_a_connection_is_made_ends_all_the_same(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks may be the one in whom Python's collector comes to it."""

    def collecting(target: Target) -> object:
        made = Connection(target)
        gc.collect()
        return made

    def watch() -> None:
        changes = db.user("alice").watch()
        keys.append(next(iter(changes)).key)
        changes.close()

    keys: list[str | None] = []
    with connect(peer.address, timeout_s=5.0) as db:
        monkeypatch.setattr(_rpc, "STREAMS_MAX", 1)
        monkeypatch.setattr(_rpc, "Connection", collecting)
        left: list[Any] = [db.user("alice").watch()]
        assert next(left[0]).key == "1.0"
        left.append(left)
        del left
        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        watcher.join(30)
        assert keys == ["1.0"]


def test_a_negative_revision_is_refused(db: Database) -> None:
    with pytest.raises(InvalidArgument) as caught:
        list(db.user("alice").watch(from_revision=-1))
    assert caught.value.field == "from_revision"


def _gone(script: Script) -> int:
    with Peer(script) as peer:
        return peer.port


def test_closing_the_database_ends_a_watch_of_another_thread(peer: Peer) -> None:
    db = connect(peer.address, timeout_s=5.0)
    seen: list[Change] = []
    errors: list[str] = []

    def watch() -> None:
        try:
            seen.extend(db.user("alice").watch())
        except Unavailable as error:
            errors.append(error.reason)

    watcher = threading.Thread(target=watch)
    watcher.start()
    time.sleep(0.2)
    db.close()
    watcher.join(30)

    assert not watcher.is_alive()
    assert errors == ["CLOSED"]
