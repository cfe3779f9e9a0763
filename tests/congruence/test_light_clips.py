"""Clips without their heavy parts: everything else is as in the whole ones."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from memdb import Clip, InvalidArgument, Keyframe, StoredClip
from memdb.types.database import Stream, User
from tests.congruence.media import T0_NS, clip, vector

pytestmark = pytest.mark.congruence

LIGHT: dict[str, Any] = {"with_global_memory": False, "with_keyframes": False}


@pytest.fixture
def filled(user: User, door: Stream) -> User:
    for seq in range(5):
        door.write(
            clip(
                seq,
                vector(1, seq / 8),
                keyframes=[Keyframe(T0_NS, b"\xff\xd8 picture")],
                labels={"n": str(seq)},
            )
        )
    return user


def check_light(light: StoredClip, whole: StoredClip, *, vector: bool, frames: bool) -> None:
    assert light.global_memory.shape == (whole.global_memory.shape if vector else (0,))
    assert light.keyframes == (whole.keyframes if frames else ())
    assert whole.keyframes
    for item in fields(StoredClip):
        if item.name not in ("global_memory", "keyframes"):
            assert getattr(light, item.name) == getattr(whole, item.name), item.name


@pytest.mark.parametrize(("vectors", "frames"), [(False, False), (True, False), (False, True)])
def test_hits_come_without_what_was_not_asked_for(
    filled: User, vectors: bool, frames: bool
) -> None:
    parts: dict[str, Any] = {"with_global_memory": vectors, "with_keyframes": frames}
    question = vector(1, 0.3)
    for _ in range(2):  # the second time out of what is kept
        whole = filled.ground(question, limit=3)
        light = filled.ground(question, limit=3, **parts)
        assert [hit.score for hit in light.hits] == [hit.score for hit in whole.hits]
        for ours, theirs in zip(light.hits, whole.hits, strict=True):
            check_light(ours.clip, theirs.clip, vector=vectors, frames=frames)
    many = filled.ground_many(np.stack([question, question]), limit=3, **parts)
    for answer in many:
        for ours, theirs in zip(answer.hits, whole.hits, strict=True):
            check_light(ours.clip, theirs.clip, vector=vectors, frames=frames)


def test_listed_clips_come_without_what_was_not_asked_for(filled: User) -> None:
    whole = filled.clips()
    light = filled.clips(**LIGHT)
    assert len(light) == 5
    for ours, theirs in zip(light, whole, strict=True):
        check_light(ours, theirs, vector=False, frames=False)


def test_short_memory_may_come_alone(user: User, door: Stream) -> None:
    door.write(clip(0, vector(1), short_memory=np.ones((2, 4), np.float16)))
    (hit,) = user.ground(vector(1), with_short_memory=True, **LIGHT).hits
    assert isinstance(hit.clip.short_memory, np.ndarray)
    assert hit.clip.short_memory.shape == (2, 4)
    assert hit.clip.global_memory.size == 0


def test_a_light_clip_is_not_written_again_by_mistake(filled: User, door: Stream) -> None:
    (hit,) = filled.ground(vector(1), limit=1, **LIGHT).hits
    with pytest.raises(InvalidArgument) as caught:
        door.write(replace(hit.clip, seq=9))
    assert caught.value.field == "clip.global_memory"
    assert not [found for found in filled.clips() if found.seq == 9]
    with pytest.raises(InvalidArgument):
        Clip(seq=9, start_ns=T0_NS, end_ns=T0_NS + 1, global_memory=hit.clip.global_memory)


@pytest.mark.parametrize("name", ["with_global_memory", "with_keyframes"])
def test_what_is_no_flag_is_refused(filled: User, name: str) -> None:
    flag: dict[str, Any] = {name: "no"}
    for ask in (
        lambda: filled.ground(vector(1), **flag),
        lambda: filled.ground_many(np.ones((1, 4), np.float32), **flag),
        lambda: filled.clips(**flag),
    ):
        with pytest.raises(InvalidArgument) as caught:
            ask()
        assert (caught.value.reason, caught.value.field) == ("BAD_TYPE", name)
