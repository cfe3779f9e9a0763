"""Ids that the native edge makes are those of Python."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memdb.store.idents import IdKind, make_id, numbered, parse_id
from tests.both_edges import NEEDS_NATIVE

memdb_edge = pytest.importorskip("memdb_edge", reason="the native edge is not installed")
pytestmark = NEEDS_NATIVE

KEYS = st.binary(max_size=64)
KINDS = st.sampled_from(list(IdKind))
NUMBERS = st.integers(0, 2**56 - 41) | st.sampled_from([0, 1, 255, 256, 2**32 - 1, 2**56 - 41])


@given(KEYS, KINDS, NUMBERS, st.integers(0, 40))
def test_they_are_the_same(key: bytes, kind: IdKind, first: int, count: int) -> None:
    found = memdb_edge.make_ids(key, numbered(kind, first), count)
    assert found == [make_id(key, kind, no) for no in range(first, first + count)]
    assert [parse_id(key, kind, one) for one in found] == list(range(first, first + count))


@pytest.mark.parametrize("length", range(65))
def test_a_key_of_each_length(length: int) -> None:
    key = bytes(range(100, 100 + length))
    assert memdb_edge.make_ids(key, numbered(IdKind.CLIP, 7), 1) == [make_id(key, IdKind.CLIP, 7)]


def test_a_key_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="key"):
        memdb_edge.make_ids(b"k" * 65, 1, 1)
    with pytest.raises(ValueError, match="key"):
        memdb_edge.ack_fields(b"k" * 65, 1, 1, 1)
