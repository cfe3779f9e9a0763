"""`unchecked` makes the values that the checks would have made."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest

from memdb.types.clip import Clip, Keyframe, SoundEvent, StoredClip, Utterance
from memdb.types.grounding import Grounding, Hit
from memdb.types.labels import Labels
from memdb.types.unchecked import unchecked

VECTOR = np.ones(3, np.float32)


def a_clip() -> StoredClip:
    return StoredClip(
        seq=3,
        start_ns=1,
        end_ns=2,
        global_memory=VECTOR,
        labels=Labels(room="hall"),
        id="0" * 32,
        user="alice",
        stream="door",
        space="clip",
        revision=7,
    )


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (Utterance, (1, 2, "text", None, "en")),
        (SoundEvent, (1, 2, "dog", 0.5)),
        (Keyframe, (3, b"jpeg")),
        (Hit, (None, 0.5, None, (), (0.25, 0.75), ())),
        (Grounding, ((), 3, "none", (), (), True, None, False, 2)),
    ],
)
def test_equals_the_checked_value(kind: type[object], values: tuple[object, ...]) -> None:
    made = unchecked(kind, *values)
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    checked = kind(**dict(zip(names, values, strict=True)))
    assert type(made) is kind
    assert made == checked
    assert hash(made) == hash(checked)
    assert repr(made) == repr(checked)
    assert copy.deepcopy(made) == checked


def test_a_clip_is_like_any_other() -> None:
    checked = a_clip()
    values = [getattr(checked, field.name) for field in dataclasses.fields(StoredClip)]
    made = unchecked(StoredClip, *values)
    assert type(made) is StoredClip
    assert isinstance(made, Clip)
    assert not hasattr(made, "__dict__")
    assert repr(made) == repr(checked)
    assert dataclasses.replace(made, seq=4).seq == 4
    for other in (copy.copy(made), copy.deepcopy(made)):
        assert repr(other) == repr(checked)
        assert other != made  # by identity, as every clip
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.seq = 4  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        del made.seq


def test_wants_every_field() -> None:
    with pytest.raises(TypeError, match="missing"):
        unchecked(Keyframe, 3)
