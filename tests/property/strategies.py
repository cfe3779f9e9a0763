"""What the machine draws: small families, so that numbers are reused and contents collide."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from memdb import Not
from tests.property.model import HOUR_NS, Content, SpaceModel

SPACES = {
    "cos": SpaceModel("cos", 8, "cosine"),
    "dot": SpaceModel("dot", 6, "dot"),
    "text": SpaceModel("text", 4, "cosine"),
}
USERS = ("alice", "bob")
STREAMS = {"porch": "cos", "yard": "cos", "mic": "dot"}
"""Stream -> the space it is written in, nearly always."""

WORDS = ("red", "mug", "door", "opens", "two", "Alice", "says", "the")
users = st.sampled_from(USERS)
streams = st.sampled_from(tuple(STREAMS))
marks = st.integers(0, 1000)
"""Chooses among what exists, modulo how much there is."""
EPOCH_NS = 1_700_000_000_123_457_000  # no whole second: those survive as floats

_PACKED_BYTES = 8


def packed(**choices: Sequence[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """One of each, all drawn as one: Hypothesis takes longer over a draw than the engine over most calls.

    As bytes, which are drawn evenly; large integers are not.
    """
    count = math.prod(len(among) for among in choices.values())
    assert count < 1 << (8 * _PACKED_BYTES - 8), "the last one would not be chosen evenly"

    def unpacked(drawn: bytes) -> dict[str, Any]:
        number, chosen = int.from_bytes(drawn), {}
        for name, among in choices.items():
            number, which = divmod(number, len(among))
            chosen[name] = among[which]
        return chosen

    return st.binary(min_size=_PACKED_BYTES, max_size=_PACKED_BYTES).map(unpacked)


WORDS_MAX = 6
texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=WORDS_MAX).map(" ".join)
TIMES = tuple(EPOCH_NS + half_hours * HOUR_NS // 2 for half_hours in range(61))
LENGTHS = (0, 1, HOUR_NS // 2, HOUR_NS, 3 * HOUR_NS)
VECTORS = tuple(range(-6, 7))
times = st.sampled_from(TIMES)
lengths = st.sampled_from(LENGTHS[1:])
"""Of the time that is asked about: none is refused."""


def _content(drawn: dict[str, Any]) -> Content:
    end_ns = drawn["start_ns"] + drawn.pop("length")
    words = [drawn.pop(f"word {n}") for n in range(WORDS_MAX)]
    count = drawn.pop("words")
    return Content(**drawn, end_ns=end_ns, text=" ".join(words[:count]) if count else None)


contents = packed(
    start_ns=TIMES,
    length=LENGTHS,
    sealed=(False, True),
    vector=VECTORS,
    half=(False, True),
    short_rows=(0, 1, 4),
    keyframes=(0, 0, 2),
    label=(None, "porch", "street"),
    words=(*[0] * WORDS_MAX, *range(1, WORDS_MAX + 1)),
    **{f"word {n}": WORDS for n in range(WORDS_MAX)},
).map(_content)
"""One version of a clip."""

LABEL_FILTERS = (
    None,
    None,
    None,
    {"zone": ["porch"]},
    {"zone": ["porch", "street"]},
    {"zone": ["mug"]},
    {"a": ["porch"]},
    {"zone": Not("porch")},
    {"zone": Not("mug", "street"), "a": Not("porch")},
)
label_filters = st.sampled_from(LABEL_FILTERS)

FAR_SEQ = 10**15
"""A number that no epoch comes near: a digit too many."""
numbers = st.sampled_from(
    [
        (epoch, seq)
        for epoch in (0, 0, 0, 7)
        for seq in (*range(8), *range(8), *range(8), *range(8), FAR_SEQ, FAR_SEQ)
    ]
)
"""(epoch, seq)."""
batches = st.lists(st.tuples(numbers, contents), min_size=1, max_size=5)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("äb\u2028\x00", max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text("xy", max_size=2), inner, max_size=2)
    ),
    max_leaves=4,
)
