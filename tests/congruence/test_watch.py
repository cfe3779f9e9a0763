"""The change feed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from memdb import Change, NotFound, Unavailable
from memdb.types.database import Database, Stream, User
from tests.congruence.media import clip

pytestmark = pytest.mark.congruence


def closed(changes: Iterator[Change]) -> None:
    """What leaving a loop does sooner or later."""
    changes.close()  # type: ignore[attr-defined] # a generator


def test_every_kind_of_change_is_told_in_order(db: Database, user: User, door: Stream) -> None:
    db.create_space("text", dim=4)
    ack = door.write(clip(0))
    user.configure(text_space="text")
    user.put("diet", 1)
    fact = user.remember("the mug is blue")
    snapshot = user.snapshot("s", ttl_s=60)
    user.release("s")
    user.forget(fact.id)

    changes = list(user.watch(follow=False))

    assert [change.kind for change in changes] == [
        "stream", "clip", "settings", "value", "fact", "snapshot", "release", "forget",
    ]  # fmt: skip
    by_kind = {change.kind: change for change in changes}
    assert by_kind["clip"].clip is not None
    assert by_kind["clip"].clip.id == ack.clip_id
    assert by_kind["stream"].stream == user.streams()[0]
    assert by_kind["snapshot"].snapshot == snapshot
    keys = {kind: by_kind[kind].key for kind in ("settings", "value", "release", "forget")}
    assert keys == {"settings": "text", "value": "diet", "release": "s", "forget": fact.id}
    places = [(change.revision, change.index) for change in changes]
    assert places == sorted(set(places))
    assert changes[-1].revision == user.revision()


def test_it_begins_after_the_revision_asked(user: User) -> None:
    first = user.put("a", 1)
    second = user.put("b", 2)

    assert [c.key for c in user.watch(from_revision=first, follow=False)] == ["b"]
    assert list(user.watch(from_revision=second, follow=False)) == []


def test_a_place_is_of_the_commit_that_told_it(user: User) -> None:
    user.put("a", 1)
    user.put("b", 2)
    first, second = user.watch(follow=False)

    def after(change: Change, time_ns: int) -> list[str | None]:
        watched = user.watch(from_revision=change.revision, revision_time_ns=time_ns, follow=False)
        return [later.key for later in watched]

    assert after(first, first.time_ns) == ["b"]
    with pytest.raises(NotFound) as caught:
        after(first, first.time_ns - 1)
    assert (caught.value.reason, caught.value.field) == ("REVISION_NOT_FOUND", "from_revision")
    assert after(second, second.time_ns) == []


def test_a_watcher_sees_what_comes(user: User) -> None:
    user.put("a", 1)
    seen: list[str | None] = []

    def watch() -> None:
        changes = user.watch()
        for change in changes:
            seen.append(change.key)
            if change.key == "end":
                break
        closed(changes)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for key in ("b", "c", "end"):
        time.sleep(0.02)
        user.put(key, 1)
    watcher.join(10)

    assert not watcher.is_alive()
    assert seen == ["a", "b", "c", "end"]


def test_a_user_that_never_wrote_cannot_be_watched(db: Database) -> None:
    with pytest.raises(NotFound) as caught:
        next(iter(db.user("nobody").watch()))
    assert caught.value.reason == "USER_NOT_FOUND"


def test_a_watch_ends_with_its_user_also_where_another_of_its_name_has_come_further(
    user: User,
) -> None:
    """The other's first commits have numbers that the watch has passed: it would never tell them."""
    last = [user.put("before", number) for number in range(3)][-1]
    changes = user.watch()
    assert [next(changes).revision for _ in range(last)] == [1, 2, 3]

    user.erase()
    for number in range(2 * last):
        user.put("after", number)

    with pytest.raises(NotFound) as caught:
        next(changes)
    assert caught.value.reason == "USER_NOT_FOUND"


@pytest.mark.parametrize("transport", ["embedded", "sync"])
def test_the_close_of_its_database_ends_what_waits_in_a_thread(
    db: Database, user: User, door: Stream
) -> None:
    door.write(clip(0))
    begun, ended = threading.Event(), []

    def follow() -> None:
        try:
            for _ in user.watch():
                begun.set()
        except Unavailable as error:
            ended.append(error.reason)

    thread = threading.Thread(target=follow)
    thread.start()
    assert begun.wait(30)
    db.close()
    thread.join(30)
    assert ended == ["CLOSED"]


@pytest.mark.parametrize("transport", ["embedded", "sync"])
def test_a_handle_shows_whose_it_is(db: Database, user: User, door: Stream) -> None:
    assert repr(user).endswith("User alice>")
    assert repr(door).endswith("Stream door of alice>")
    assert repr(db).split()[0] in ("<EmbeddedDatabase", "<Database")
    assert "object at" not in repr(db)
