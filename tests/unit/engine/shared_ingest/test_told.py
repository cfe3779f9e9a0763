"""Whoever shares a commit is told what became of its own, and nobody waits for ever to be."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from memdb import MemdbError, ResourceExhausted, failpoints
from memdb.engine import shared_commit, shared_ingest
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.ingest_feed import Feed, Part
from memdb.engine.run_acks import Outcomes
from memdb.engine.shared_commit import Place
from memdb.engine.shared_ingest import SharedIngest
from memdb.engine.stream import EmbeddedStream
from memdb.engine.user import EmbeddedUser
from memdb.failpoints import FailpointError
from tests.unit.engine.conftest import clip, vector
from tests.unit.engine.shared_ingest.cameras import PATIENCE_S, camera, held_back, threads


def ended(call: Callable[[], object]) -> None:
    """Make a call; fails where it does not end."""
    caller = threading.Thread(target=call, daemon=True)
    caller.start()
    caller.join(PATIENCE_S / 4)
    assert not caller.is_alive(), "it waits for ever"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("where", ["end", "is_done", "drop", "write"])
def test_nobody_waits_for_ever_where_there_is_no_memory_to_say_what_became_of_it(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Of one of those that share a commit; it may have been made, and no clip behind it is written."""
    user = db.user("alice")
    user.stream("bad", space="cam").write(clip(0, global_memory=vector(99)))
    names = ("bad", "good", "late")
    writers = {name: camera(user, name) for name in names}
    its = writers["good" if where == "end" else "bad"]._feed
    failed: list[str] = []
    end, drop = Part.end, SharedIngest._drop

    def ends(part: Part) -> bool:
        is_its = part.feed is its and not failed
        if is_its and where == "is_done":
            end(part)
        if is_its and where in ("end", "is_done"):
            failed.append(where)
            raise MemoryError
        return end(part)

    def drops(shared: SharedIngest, feed: Feed) -> int:
        if feed is its and where == "drop" and not failed:
            failed.append(where)
            raise MemoryError
        return drop(shared, feed)

    def writes(parts: Sequence[Part], place: Place) -> None:
        if where == "write" and not failed:
            failed.append(where)
            raise MemoryError
        shared_commit.write_parts(parts, place)

    monkeypatch.setattr(Part, "end", ends)
    monkeypatch.setattr(SharedIngest, "_drop", drops)
    monkeypatch.setattr(shared_ingest, "write_parts", writes)
    monkeypatch.setattr(shared_ingest, "GROUP_CLIPS", 3)
    monkeypatch.setattr(shared_ingest, "LINGER_S", PATIENCE_S)
    told: dict[str, list[object]] = {name: [] for name in names}

    def flush(name: str) -> None:
        try:
            writers[name].send(clip(1))
            told[name] = [ack.duplicate for ack in writers[name].flush()]
        except MemdbError as error:
            told[name] = [error.reason]

    with held_back(db):
        for name in names:
            writers[name].send(clip(0))
    until_s = time.monotonic() + PATIENCE_S / 4
    while any(writer._feed.on_their_way for writer in writers.values()):
        assert time.monotonic() < until_s, "it is never settled"
        time.sleep(0.001)
    with writers["bad"]._shared._lock:
        pass  # what settles it is done
    for name in names:
        ended(partial(flush, name))
    assert failed == [where]
    broken = ["INDEX_BROKEN"]
    if where == "write":
        assert told == dict.fromkeys(names, broken)
    else:
        assert told["bad"] == ["SEQ_REUSED"]
        assert told["good"] == (broken if where == "end" else [False, False])
        assert told["late"] == [False, False]
    for name, writer in writers.items():
        with suppress(MemdbError):
            ended(writer.close)
        assert (writer._feed.ready, writer._feed.on_their_way) == ([], 0)
        kept = [found.seq for found in user.clips(stream=name)] if user_has(user, name) else []
        if name == "bad":
            assert kept == [0]
        elif where == "write":
            assert kept == []
        else:
            assert kept == ([0] if told[name] == broken else [0, 1])
    assert threads() == []


def user_has(user: EmbeddedUser, stream: str) -> bool:
    return stream in {info.name for info in user.streams()}


def test_what_befell_an_earlier_commit_of_one_writer_is_not_told_to_others(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who shares the next one with it."""
    monkeypatch.setattr(shared_ingest, "GROUP_CLIPS", 2)
    monkeypatch.setattr(shared_ingest, "LINGER_S", PATIENCE_S)
    user = db.user("alice")
    user.put("made", 1)
    much, little = camera(user, "much"), camera(user, "little")
    with held_back(db):
        for taken, (writer, seq) in enumerate([(much, 0), (much, 1), (much, 2), (little, 0)], 1):
            writer.send(clip(seq))
            while len(much._feed.going) < taken // 2:
                threads()[0].join(0.001)
        failpoints.arm("commit.before=error@1")
    assert len(little.flush()) == 1
    little.close()
    with pytest.raises(FailpointError):
        much.close()
    assert [(found.stream, found.seq) for found in user.clips()] == [("little", 0)]


def test_what_was_refused_with_another_is_written_once_what_is_before_it_is(
    db: EmbeddedDatabase,
) -> None:
    """Whatever befell the two together."""

    class Later(Part):
        """Written alone while who is behind it waits."""

        def wait(self) -> bool:
            with place:
                shared_commit.write_parts([self], place)
            self.end()
            return super().wait()

    door = db.user("alice").stream("door", space="cam")
    door.create()
    place = Place(threading.Lock())
    feed = Feed(door, 8)
    before = Later(feed, [door.prepare(clip(0))])
    before.passage.error = MemoryError()
    behind = Part(feed, [door.prepare(clip(1))])
    feed.going += (before, behind)
    with place:
        shared_commit.write_parts([behind], place)
    assert behind.end()
    assert [found.seq for found in db.user("alice").clips()] == [0, 1]


def test_each_of_those_that_are_tried_alone_has_its_place(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that gave it away, to wait for what is before it, and was refused with that: the next was written without,
    and what another commit had behind it could come before it."""
    user = db.user("alice")
    user.put("made", 1)
    turn = threading.Lock()
    streams = [user.stream(name, space="cam") for name in ("refused", "next", "last")]
    feeds = [Feed(stream, 8) for stream in streams]
    before = Part(feeds[0], [streams[0].prepare(clip(0))])
    before.passage.error = ResourceExhausted("no room", reason="QUOTA")
    before.refuse(before.passage.error)
    before.end()
    feeds[0].going.append(before)
    parts = [
        Part(feed, [stream.prepare(clip(1))]) for feed, stream in zip(feeds, streams, strict=True)
    ]
    for part in parts:
        part.feed.going.append(part)
    had_place: list[bool] = []
    write_prepared = EmbeddedStream.write_prepared

    def looks(stream: EmbeddedStream, *args: Any) -> Outcomes:
        had_place.append(turn.locked())
        return write_prepared(stream, *args)

    monkeypatch.setattr(EmbeddedStream, "write_prepared", looks)
    with Place(turn) as place:
        shared_commit.write_parts(parts, place)
    assert had_place == [True] * 3
    assert [part.end() for part in parts] == [False, True, True]
    assert not turn.locked()
