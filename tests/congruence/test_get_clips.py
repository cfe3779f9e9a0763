"""Several clips by their ids in one call: each as `clip` gives it, all as of one moment."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from memdb import InvalidArgument, Keyframe, MemdbError, NotFound, StoredClip
from memdb.types.database import Database, Stream, User
from tests.congruence.media import T0_NS, clip

pytestmark = pytest.mark.congruence

NOBODY = "0" * 32
PICTURE = Keyframe(T0_NS, b"\xff\xd8" + bytes(30_000) + b"\xff\xd9")


def rich(seq: int, **fields: Any) -> Any:
    tokens = np.full((3 + seq, 4), seq, np.float16)
    return clip(seq, short_memory=tokens, keyframes=(PICTURE,), labels={"n": str(seq)}, **fields)


def told(found: StoredClip) -> tuple[Any, ...]:
    """All of a clip, its arrays as bytes."""
    short = found.short_memory
    return (
        found.id,
        found.revision,
        found.seq,
        found.start_ns,
        found.labels,
        found.keyframes,
        found.global_memory.tobytes(),
        None if short is None else np.asarray(short).tobytes(),
        found.sealed,
        found.stream,
        found.space,
    )


def test_each_is_what_clip_gives_in_the_order_asked(user: User, door: Stream) -> None:
    ids = [ack.clip_id for ack in door.write_many([rich(seq) for seq in range(4)])]
    ids.append(door.write(clip(4)).clip_id)  # without short-term memory or keyframes
    wanted = [ids[3], ids[0], ids[4], ids[0]]
    assert [told(one) for one in user.get_clips(wanted)] == [told(user.clip(i)) for i in wanted]
    assert user.get_clips(wanted)[0].short_memory is None
    whole = user.get_clips(wanted, with_short_memory=True)
    assert [told(one) for one in whole] == [
        told(user.clip(i, with_short_memory=True)) for i in wanted
    ]
    assert whole[0].short_memory is not None
    assert whole[2].short_memory is None
    light = user.get_clips(iter(ids), with_global_memory=False, with_keyframes=False)  # type: ignore[arg-type]
    assert [one.id for one in light] == ids
    assert all(one.global_memory.size == 0 and one.keyframes == () for one in light)
    assert user.get_clips([]) == []


def test_all_are_of_one_moment(user: User, door: Stream) -> None:
    first = [door.write(rich(seq, sealed=False)) for seq in range(3)]
    before = user.revision()
    user.snapshot("then", ttl_s=600)
    for seq in range(3):
        door.write(clip(seq, np.ones(4, np.float32), labels={"n": "new"}))
    ids = [ack.clip_id for ack in first]
    assert [one.labels["n"] for one in user.get_clips(ids)] == ["new"] * 3
    for as_of in (before, "then"):
        old = user.get_clips(ids, as_of=as_of)
        assert [one.labels["n"] for one in old] == ["0", "1", "2"]
        assert [told(one) for one in old] == [told(user.clip(i, as_of=as_of)) for i in ids]
    with pytest.raises(NotFound) as caught:
        user.get_clips(ids, as_of=first[1].revision)
    assert (caught.value.field, caught.value.value) == ("clip_ids[2]", ids[2])


@pytest.mark.parametrize("page_bytes", [1, 50_000, 1 << 20])
def test_pages_of_the_server_leave_nothing_out(
    user: User, door: Stream, monkeypatch: pytest.MonkeyPatch, page_bytes: int
) -> None:
    monkeypatch.setattr("memdb.server.clip_service.PAGE_BYTES", page_bytes)
    monkeypatch.setattr("memdb.server.clip_service.CHUNK_BYTES_MAX", min(page_bytes, 70_000))
    ids = [ack.clip_id for ack in door.write_many([rich(seq) for seq in range(9)])]
    ids += ids[::-1]
    for with_short_memory in (False, True):
        found = user.get_clips(ids, with_short_memory=with_short_memory)
        assert [one.id for one in found] == ids
    # One that is not there is told by its place among all, on whatever page.
    with pytest.raises(NotFound) as caught:
        user.get_clips([*ids, NOBODY])
    error = caught.value
    assert (error.reason, error.field, error.value) == ("CLIP_NOT_FOUND", "clip_ids[18]", NOBODY)


def test_short_memory_names_the_place_too(user: User, door: Stream) -> None:
    ids = [ack.clip_id for ack in door.write_many([rich(0), clip(1)])]
    for wanted, reason in ((NOBODY, "CLIP_NOT_FOUND"), (ids[1], "NO_SHORT_MEMORY")):
        with pytest.raises(NotFound) as caught:
            user.short_memory([ids[0], ids[0], wanted])
        error = caught.value
        assert (error.reason, error.field, error.value) == (reason, "clip_ids[2]", wanted)


def test_what_went_and_what_is_of_others_is_not_there(
    db: Database, user: User, door: Stream
) -> None:
    acks = door.write_many([clip(seq) for seq in range(3)])
    theirs = db.user("bob").stream("door", space="clip").write(clip(0)).clip_id
    user.erase_clips([acks[1].clip_id])
    for gone in (acks[1].clip_id, theirs, "nope"):
        with pytest.raises(NotFound) as caught:
            user.get_clips([acks[0].clip_id, gone])
        error = caught.value
        assert (error.reason, error.field, error.value) == ("CLIP_NOT_FOUND", "clip_ids[1]", gone)
    assert len(user.get_clips([acks[0].clip_id, acks[2].clip_id])) == 2


@pytest.mark.parametrize(
    ("ids", "options", "reason", "kind"),
    [
        (None, {}, "BAD_TYPE", InvalidArgument),
        (NOBODY, {}, "BAD_TYPE", InvalidArgument),
        ([5], {}, "BAD_TEXT", InvalidArgument),
        ([""], {}, "EMPTY", InvalidArgument),
        ([NOBODY] * 1001, {}, "TOO_LARGE", InvalidArgument),
        ([], {"with_short_memory": 1}, "BAD_TYPE", InvalidArgument),
        ([], {"with_keyframes": None}, "BAD_TYPE", InvalidArgument),
        ([], {"as_of": 99}, "REVISION_NOT_FOUND", NotFound),
        ([], {"as_of": "never"}, "SNAPSHOT_NOT_FOUND", NotFound),
    ],
)
def test_what_is_wrong_is_refused(
    user: User, door: Stream, ids: Any, options: Any, reason: str, kind: type[MemdbError]
) -> None:
    with pytest.raises(NotFound, match="USER_NOT_FOUND"):
        user.get_clips([])
    door.write(clip(0))
    with pytest.raises(kind) as refused:
        user.get_clips(ids, **options)
    assert refused.value.reason == reason
