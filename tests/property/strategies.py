"""What the machine draws: small families, so that numbers are reused and contents collide."""

from __future__ import annotations

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
EPOCH_NS = 1_700_000_000_000_000_000

texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join)
times = st.integers(0, 60).map(lambda half_hours: EPOCH_NS + half_hours * HOUR_NS // 2)
lengths = st.sampled_from((0, 1, HOUR_NS // 2, HOUR_NS, 3 * HOUR_NS))
vectors = st.integers(-6, 6)


@st.composite
def contents(draw: st.DrawFn) -> Content:
    """One version of a clip."""
    start_ns = draw(times)
    return Content(
        start_ns=start_ns,
        end_ns=start_ns + draw(lengths),
        sealed=draw(st.booleans()),
        vector=draw(vectors),
        half=draw(st.booleans()),
        short_rows=draw(st.sampled_from((0, 1, 4))),
        text=draw(st.none() | texts),
        keyframes=draw(st.sampled_from((0, 0, 2))),
        label=draw(st.sampled_from((None, "porch", "street"))),
    )


label_filters = st.sampled_from(
    (
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
)

FAR_SEQ = 10**15
"""A number that no epoch comes near: a digit too many."""
numbers = st.tuples(
    st.sampled_from((0, 0, 0, 7)),
    st.one_of(*[st.integers(0, 7)] * 15, st.just(FAR_SEQ)),
)
"""(epoch, seq)."""
batches = st.lists(st.tuples(numbers, contents()), min_size=1, max_size=5)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("äb\u2028\x00", max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text("xy", max_size=2), inner, max_size=2)
    ),
    max_leaves=4,
)
