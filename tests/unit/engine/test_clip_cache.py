"""Clips that are kept in memory between questions: the same answers, nothing that is gone, within a budget."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from memdb import DataLoss, Keyframe, NotFound, Retention, Utterance
from memdb.engine import view as views
from memdb.engine.clip_cache import ClipCache, KeptClips, RowClips
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.hydrate import USUAL
from memdb.engine.listing import get_short_memory
from memdb.store import clips as clip_store
from memdb.store.records import ClipRecord
from memdb.store.schema import DATA_FILE
from memdb.types.arrays import Array
from memdb.types.clip import StoredClip
from memdb.types.tensor import Codec
from tests.unit.engine.conftest import CONFIG, clip, vector


def kept(db: EmbeddedDatabase, user: str = "alice") -> KeptClips:
    with db.user(user).memory() as memory:
        return memory.view.kept


def filled(db: EmbeddedDatabase, count: int = 6) -> None:
    frames = (Keyframe(1, b"jpeg"),)
    said = (Utterance(1, 2, "a word"),)
    memory = np.ones((4, 8), np.float16)
    db.user("alice").stream("door", space="cam").write_many(
        [clip(n, keyframes=frames, transcript=said, short_memory=memory) for n in range(count)]
    )


def test_a_second_answer_reads_no_clip_and_is_the_same(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(db)
    user = db.user("alice")
    first = user.ground(vector(2), limit=4)

    def read_again(*args: object, **named: object) -> StoredClip:
        raise AssertionError("read from the store")

    monkeypatch.setattr(views, "load_clip", read_again)
    second = user.ground(vector(2), limit=4)
    assert [hit.clip for hit in second.hits] == [hit.clip for hit in first.hits]
    assert [hit.score for hit in second.hits] == [hit.score for hit in first.hits]
    with pytest.raises(AssertionError, match="read from the store"):
        user.ground(vector(2), limit=4, with_short_memory=True)


def test_what_is_kept_cannot_be_changed_by_who_holds_it(db: EmbeddedDatabase) -> None:
    filled(db)
    found = db.user("alice").ground(vector(2)).hits[0].clip
    with pytest.raises(ValueError, match="read-only"):
        found.global_memory[0] = 7
    with pytest.raises(TypeError):
        found.labels["mine"] = "yes"  # type: ignore[index]


@pytest.mark.parametrize("what", ["clip", "keyframes", "stream", "damage"])
def test_nothing_is_kept_of_what_was_taken_away(db: EmbeddedDatabase, what: str) -> None:
    filled(db)
    user = db.user("alice")
    hits = user.ground(vector(2), limit=6).hits
    before = kept(db)
    assert len(before.clips) == 6
    if what == "clip":
        user.erase_clips(clip_ids=[hits[0].clip.id])
    elif what == "keyframes":
        user.stream("door").set_retention(Retention(max_bytes=0))
        db.sweep()
    elif what == "stream":
        user.stream("door").erase()
    else:
        with user.memory() as memory:
            memory.damage_found(["keyframes/" + "0" * 15 + "2" + "0" * 15 + "1" + "0" * 8])
    assert before.retired
    assert not before.clips
    # Who still reads what was before keeps nothing.
    before.put(1, 1, USUAL, hits[0].clip, 100)
    assert not before.clips
    after = user.ground(vector(2), limit=6).hits
    if what == "clip":
        assert [hit.clip.id for hit in after] == [hit.clip.id for hit in hits[1:]]
    elif what == "keyframes":
        assert len(after) == 6
        assert not any(hit.clip.keyframes for hit in after)
    elif what == "stream":
        assert not after


def test_a_later_version_of_an_open_clip_is_read(db: EmbeddedDatabase) -> None:
    door = db.user("alice").stream("door", space="cam")
    door.write(clip(0, sealed=False, labels={"n": "1"}))
    early = db.user("alice").ground(vector(0))
    door.write(clip(0, labels={"n": "2"}))
    assert db.user("alice").ground(vector(0)).hits[0].clip.labels == {"n": "2"}
    then = db.user("alice").ground(vector(0), as_of=early.revision)
    assert then.hits[0].clip == early.hits[0].clip


def test_a_closed_user_keeps_nothing(db: EmbeddedDatabase) -> None:
    filled(db)
    db.user("alice").ground(vector(2))
    before = kept(db)
    assert before.clips
    with db._users.exclusively("alice"):
        assert before.retired
        assert not before.clips


def test_none_where_the_budget_is_none(folder: Path) -> None:
    config = replace(CONFIG, clip_cache_bytes_max=0)
    with EmbeddedDatabase(folder / "none", config=config) as db:
        db.create_space("cam", dim=8)
        filled(db)
        db.user("alice").ground(vector(2))
        assert not kept(db).clips


def test_the_oldest_of_all_users_give_way(db: EmbeddedDatabase) -> None:
    filled(db)
    (found,) = db.user("alice").ground(vector(2), limit=1).hits
    cache = ClipCache(512 * 2048)
    one, other = cache.of_user(), cache.of_user()
    rng = np.random.default_rng(5)
    held: list[tuple[KeptClips, int]] = []
    for n in range(2000):
        whose = one if rng.random() < 0.5 else other
        whose.put(n, 1, USUAL, found.clip, 512)
        held.append((whose, n))
        assert cache.bytes <= 512 * 2048
    left = {(whose, n) for whose in (one, other) for n, _, _ in whose.clips}
    assert left == set(held[-512:])
    one.retire()
    assert cache.bytes == 2048 * len(other.clips)
    other.put(5000, 1, USUAL, found.clip, 5000)  # more than its share
    assert other.find(5000, 1, USUAL) is None
    more: Array = np.arange(512 - len(other.clips))
    for n in more.tolist():
        other.put(6000 + n, 1, USUAL, found.clip, 512)
    assert len(other.clips) == 512


def test_clips_found_by_row_go_with_the_first_that_is_kept_no_more(db: EmbeddedDatabase) -> None:
    filled(db)
    (found,) = db.user("alice").ground(vector(2), limit=1).hits
    cache = ClipCache(512 * 2048)
    one, other = cache.of_user(), cache.of_user()
    for n in range(6):
        one.put(n, 1, USUAL, found.clip, 512)
    some, others = RowClips(), RowClips()
    one.put_by_row(some, {7: (0, 1, USUAL), 8: (5, 1, USUAL), 9: (6, 1, USUAL)})
    one.put_by_row(others, {0: (3, 1, USUAL)})
    assert some.clips == {7: found.clip, 8: found.clip}, "the last is not kept"
    for n in range(506):
        other.put(n, 1, USUAL, found.clip, 512)
    assert some.clips
    assert others.clips
    other.put(506, 1, USUAL, found.clip, 512)  # the oldest of the other user gives way
    assert not some.clips
    assert not others.clips
    keys = {7: (0, 1, USUAL), 8: (5, 1, USUAL)}
    one.put_by_row(some, keys)
    assert some.clips == {8: found.clip}
    one.retire()
    assert not some.clips
    one.put_by_row(some, keys)
    assert not some.clips


def test_packed_bytes_are_of_the_budget_and_go_with_their_clip(db: EmbeddedDatabase) -> None:
    filled(db)
    found = [hit.clip for hit in db.user("alice").ground(vector(2), limit=6).hits]
    cache = ClipCache(512 * 2048)
    one, other = cache.of_user(), cache.of_user()
    one.put(0, 1, USUAL, found[0], 512)
    other.put(1, 1, USUAL, found[1], 512)
    cache.put_packed(found[0], b"a" * 832)
    cache.put_packed(found[0], b"another")
    cache.put_packed(found[1], b"b" * 4096)  # more than its share
    cache.put_packed(found[2], b"c")  # of a clip that is not kept
    assert cache.packed == {found[0]: b"a" * 832}
    assert cache.bytes == 3 * 2048 - 1024
    for n in range(509):
        other.put(2 + n, 1, USUAL, replace(found[1]), 512)
        assert found[0] in cache.packed
    assert cache.bytes <= 512 * 2048
    for n in range(2):
        other.put(1000 + n, 1, USUAL, replace(found[1]), 512)
    assert not cache.packed  # the oldest gave way whole
    assert not one.clips
    cache.put_packed(found[0], b"a")
    assert not cache.packed
    clip = next(iter(other.clips.values()))
    cache.put_packed(clip, b"a" * 100)
    other.retire()
    assert not cache.packed
    assert cache.bytes == 0


def test_short_memory_read_again_is_found_without_its_record(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(db)
    user = db.user("alice")
    ids = [clip.id for clip in user.clips()]
    first = user.short_memory(ids)

    def read_again(*args: object) -> tuple[int, ClipRecord] | None:
        raise AssertionError("looked at the record")

    monkeypatch.setattr(clip_store, "record_at", read_again)
    for before, again in zip(first, user.short_memory(ids), strict=True):
        assert np.array_equal(before, again)
        assert not again.flags.writeable
    with pytest.raises(AssertionError, match="looked at the record"):
        user.short_memory(ids, as_of=0)  # it was not there yet


def test_a_byte_that_flips_after_a_read_is_found_by_the_next(db: EmbeddedDatabase) -> None:
    filled(db, 3)
    user = db.user("alice")
    marked = np.full((4, 8), 0.123, np.float16)
    user.stream("door").write(clip(3, short_memory=marked))
    ids = [clip.id for clip in user.clips()]
    user.short_memory(ids)
    before = kept(db)
    with user.memory() as memory:
        file = memory.environment.path / DATA_FILE
    place = file.read_bytes().index(marked.tobytes())
    with file.open("r+b") as opened:
        opened.seek(place + 5)
        opened.write(b"\x01")
    with pytest.raises(DataLoss) as refused:
        user.short_memory(ids)
    assert refused.value.reason == "CHECKSUM"
    assert before.retired
    assert not before.places
    assert [gap.reason for gap in user.ground(vector(0)).gaps] == ["damaged"]
    assert len(user.short_memory(ids[:3])) == 3


@pytest.mark.parametrize("what", ["erased", "thinned"])
def test_short_memory_that_is_gone_is_not_found_where_it_was(
    db: EmbeddedDatabase, what: str
) -> None:
    filled(db)
    user = db.user("alice")
    ids = [clip.id for clip in user.clips()]
    user.short_memory(ids)
    before = kept(db)
    assert set(before.places) == set(ids)
    if what == "erased":
        user.erase_clips(clip_ids=ids[:1])
    else:
        user.stream("door").set_retention(Retention(short_memory_age_s=1))
        db.sweep()
    assert before.retired
    assert not before.places
    place = clip_store.TensorPlace(1, b"", Codec.F16, (4, 8), 64, 0)
    before.put_place(ids[0], place)  # by who still reads what was before
    assert not before.places
    with pytest.raises(NotFound) as refused:
        user.short_memory(ids[:1])
    assert refused.value.reason == ("CLIP_NOT_FOUND" if what == "erased" else "NO_SHORT_MEMORY")


def test_a_growing_clip_has_no_place(db: EmbeddedDatabase) -> None:
    door = db.user("alice").stream("door", space="cam")
    ones, twos = np.ones((4, 8), np.float16), np.full((4, 8), 2, np.float16)
    first = door.write(clip(0, sealed=False, short_memory=ones))
    assert first.clip_id is not None
    user, ids = db.user("alice"), [first.clip_id]
    assert np.array_equal(user.short_memory(ids)[0], ones)
    second = door.write(clip(0, short_memory=twos))
    assert np.array_equal(user.short_memory(ids)[0], twos)
    assert np.array_equal(user.short_memory(ids, as_of=first.revision)[0], ones)
    assert np.array_equal(user.short_memory(ids, as_of=second.revision)[0], twos)


def test_a_removal_that_is_not_shown_yet_leaves_no_damage_behind(db: EmbeddedDatabase) -> None:
    filled(db)
    user = db.user("alice")
    ids = [clip.id for clip in user.clips()]
    user.short_memory(ids)
    with user.memory() as memory:
        shown = memory.view
        places = dict(shown.kept.places)
        user.stream("door").set_retention(Retention(short_memory_age_s=1))
        db.sweep()
        shown.kept.places.update(places)  # as a reader had them before the commit was shown
        with memory.environment.read() as txn, pytest.raises(NotFound):
            get_short_memory(txn, shown, ids[:1], None)
        assert not shown.found


def test_places_have_their_part_of_the_budget() -> None:
    cache = ClipCache(768 * 300)
    of = cache.of_user()
    place = clip_store.TensorPlace(1, b"", Codec.F16, (4, 8), 64, 0)
    for n in range(400):
        of.put_place(str(n), place)
        assert cache.bytes <= 768 * 300
    assert list(of.places) == [str(n) for n in range(100, 400)]
    none = ClipCache(0).of_user()
    none.put_place("one", place)
    assert not none.places


def test_who_is_forgotten_costs_what_was_kept_of_it(db: EmbeddedDatabase) -> None:
    """And not what is kept of all others: a server closes users by the thousand."""
    filled(db)
    (found,) = db.user("alice").ground(vector(2), limit=1).hits
    cache = ClipCache(1 << 30)
    many = [cache.of_user() for _ in range(300)]
    for n in range(100 * len(many)):
        many[n % len(many)].put(n, 1, USUAL, found.clip, 100)

    def spent_s(whose: KeptClips) -> float:
        began = time.thread_time()
        whose.retire()
        return time.thread_time() - began

    beside_many = min(spent_s(whose) for whose in many[:150])
    for whose in many[150:-50]:
        whose.retire()
    beside_few = min(spent_s(whose) for whose in many[-50:])
    assert cache.bytes == 0
    assert beside_many < 10 * beside_few
