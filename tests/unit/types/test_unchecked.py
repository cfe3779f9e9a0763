"""`unchecked` makes the values that the checks would have made."""

from __future__ import annotations

import pytest

from memdb.types.clip import Keyframe, SoundEvent, Utterance
from memdb.types.unchecked import unchecked


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (Utterance, (1, 2, "text", None, "en")),
        (SoundEvent, (1, 2, "dog", 0.5)),
        (Keyframe, (3, b"jpeg")),
    ],
)
def test_equals_the_checked_value(kind: type[object], values: tuple[object, ...]) -> None:
    made = unchecked(kind, *values)
    assert made == kind(*values)
    assert hash(made) == hash(kind(*values))
    assert repr(made) == repr(kind(*values))


def test_wants_every_field() -> None:
    with pytest.raises(ValueError, match="shorter"):
        unchecked(Keyframe, 3)
