"""Values with all of their fields, and messages as the other side has them."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from memdb.types.clip import Keyframe, SoundEvent, StoredClip, Utterance
from memdb.types.fact import Fact

ID = "0123456789abcdef" * 2


def over_the_wire(message: Any) -> Any:
    """The message as the other side parses it."""
    return type(message).FromString(message.SerializeToString())


def same(left: object, right: object) -> bool:
    """Equality that looks into clips, whose arrays have no truth value."""
    if isinstance(left, np.ndarray):
        return (
            isinstance(right, np.ndarray)
            and left.dtype == right.dtype
            and np.array_equal(left, right)
        )
    if isinstance(left, tuple):
        return isinstance(right, tuple) and len(left) == len(right) and all(map(same, left, right))
    if hasattr(left, "__dataclass_fields__"):
        names = [item.name for item in fields(left)]  # type: ignore[arg-type]
        return type(left) is type(right) and all(
            same(getattr(left, name), getattr(right, name)) for name in names
        )
    return left == right


def content(**changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(5)
    return {
        "seq": 2**63 - 1,
        "epoch": 2**32 - 1,
        "start_ns": -5,
        "end_ns": 2**61,
        "global_memory": rng.standard_normal(8).astype(np.float16),
        "frames_per_token_row": 0.25,
        "transcript": (
            Utterance(0, 5, "hello\n\u2028", "Ann", "en"),
            Utterance(5, 6, "\U0001f600"),
        ),
        "transcript_features": rng.standard_normal((2, 4)).astype(np.float32),
        "events": (SoundEvent(1, 2, "dog", 0.5),),
        "keyframes": (Keyframe(3, b"\xff\xd8"),),
        "labels": {"zone": "porch", "empty": ""},
        "sealed": False,
    } | changes


def stored(**changes: Any) -> StoredClip:
    return StoredClip(**content(**changes), id=ID, user="u", stream="s", space="p", revision=2**40)


FACT = Fact(ID, "u", "text", ("a", "b"), "key", -1, 7, (ID,), 3, 4, 5)
BARE_FACT = Fact(ID, "u", "text", (), None, 0, None, (), 3, 4)
