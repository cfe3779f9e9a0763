"""Erasing a user."""

from __future__ import annotations

import pytest

from memdb import NotFound
from memdb.types.database import Database, Stream, User
from tests.congruence.media import clip, vector

pytestmark = pytest.mark.congruence


def test_nothing_of_the_user_is_left_and_others_stay(
    db: Database, user: User, door: Stream
) -> None:
    old = [door.write(clip(seq)).clip_id for seq in range(3)]
    user.remember("the mug is blue")
    user.put("diet", 1)
    bob = db.user("bob")
    bob.put("diet", 2)

    report = user.erase()

    assert (report.user, report.clips, report.facts, report.values) == ("alice", 3, 1, 1)
    assert report.bytes_removed > 0
    assert db.users() == ["bob"]
    assert bob.get("diet") == 2
    for read in (user.revision, user.clips, user.facts, user.streams, lambda: user.clip(old[0])):
        with pytest.raises(NotFound) as caught:
            read()
        assert caught.value.reason == "USER_NOT_FOUND"


def test_an_erased_user_may_begin_again(user: User, door: Stream) -> None:
    old = door.write(clip(0)).clip_id
    user.erase()

    again = door.write(clip(0, vector(0, 1)))

    assert not again.duplicate
    assert [c.id for c in user.clips()] == [again.clip_id]
    assert again.clip_id != old
    with pytest.raises(NotFound):
        user.clip(old)


def test_nobody_cannot_be_erased(db: Database) -> None:
    with pytest.raises(NotFound) as caught:
        db.user("nobody").erase()
    assert (caught.value.reason, caught.value.value) == ("USER_NOT_FOUND", "nobody")
