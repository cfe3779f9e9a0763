"""Envelopes, rows, ids and keys: they come back, they sort as what they stand for, damage is seen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from memdb import DataLoss
from memdb.store import schema
from memdb.store.envelope import HEADER, Kind, seal, unseal
from memdb.store.idents import IdKind, make_id, parse_id
from memdb.store.records import LedgerRecord, NameRecord, pack, unpack
from memdb.store.rows import Row, pack_row, unpack_row
from memdb.store.schema import Table
from memdb.types.arrays import Array
from memdb.types.limits import EPOCH_MAX, SEQ_MAX, TIME_NS_MAX, TIME_NS_MIN

pytestmark = pytest.mark.property

keys = st.binary(max_size=32)
u32 = st.integers(0, 2**32 - 1)
u64 = st.integers(0, 2**64 - 1)
kinds = st.sampled_from(tuple(Kind))
rows = st.builds(
    Row,
    u32,
    st.integers(0, EPOCH_MAX),
    st.integers(0, SEQ_MAX),
    st.integers(TIME_NS_MIN, TIME_NS_MAX),
    st.integers(TIME_NS_MIN, TIME_NS_MAX),
    st.booleans(),
    u32,
    u32,
)
vectors = st.sampled_from((np.float16, np.float32)).flatmap(
    lambda dtype: hnp.arrays(dtype, st.integers(1, 16), elements={"allow_nan": False})
)


@given(
    key=keys,
    payload=st.binary(max_size=64),
    kind=kinds,
    coding=st.integers(0, 255),
    shape=st.tuples(u32, u32),
)
def test_an_envelope_gives_back_what_it_holds(
    key: bytes, payload: bytes, kind: Kind, coding: int, shape: tuple[int, int]
) -> None:
    value = unseal("t", key, seal(key, payload, kind, coding, *shape), kind)
    assert bytes(value.payload) == payload
    assert (value.kind, value.coding, value.rows, value.dim) == (kind, coding, *shape)


@given(key=keys, payload=st.binary(max_size=64), kind=kinds, data=st.data())
def test_any_changed_byte_of_an_envelope_is_damage(
    key: bytes, payload: bytes, kind: Kind, data: st.DataObject
) -> None:
    stored = bytearray(seal(key, payload, kind))
    stored[data.draw(st.integers(0, len(stored) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(DataLoss) as damage:
        unseal("clips", key, bytes(stored), kind)
    assert damage.value.field == f"clips/{key.hex()}"


@given(key=keys, other=keys, payload=st.binary(max_size=64), cut=st.integers(0, 95))
def test_a_cut_lengthened_or_misplaced_envelope_is_damage(
    key: bytes, other: bytes, payload: bytes, cut: int
) -> None:
    assume(other != key)
    stored = seal(key, payload, Kind.BLOB)
    for wrong in (stored[: min(cut, len(stored) - 1)], stored + b"\x00"):
        with pytest.raises(DataLoss):
            unseal("t", key, wrong, Kind.BLOB)
    with pytest.raises(DataLoss) as moved:
        unseal("t", other, stored, Kind.BLOB)
    assert moved.value.reason == "CHECKSUM"


def test_every_single_bit_of_an_envelope_counts() -> None:
    stored = seal(b"key", b"payload", Kind.RECORD, 1, 2, 3)
    for bit in range(8 * len(stored)):
        damaged = bytearray(stored)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DataLoss):
            unseal("t", b"key", bytes(damaged), Kind.RECORD)


def test_an_envelope_of_another_kind_is_not_taken_for_a_record() -> None:
    with pytest.raises(DataLoss) as damage:
        unpack(Table.META, b"k", seal(b"k", b"x", Kind.BLOB), NameRecord)
    assert damage.value.reason == "WRONG_KIND"


@given(payload=st.binary(max_size=40))
def test_a_record_that_does_not_decode_is_damage(payload: bytes) -> None:
    """Right checksum, wrong content: written by something else, and still no traceback."""
    try:
        record = unpack(Table.LEDGER, b"k", seal(b"k", payload, Kind.RECORD), LedgerRecord)
    except DataLoss as damage:
        if damage.reason != "BAD_RECORD":
            raise
    else:
        assert unpack(Table.LEDGER, b"k", pack(b"k", record), LedgerRecord) == record


@given(row=rows, vector=vectors, key=keys)
def test_a_row_gives_back_what_it_holds(row: Row, vector: Array, key: bytes) -> None:
    back, elements = unpack_row(Table.VECTORS, key, pack_row(key, row, vector))
    assert back == row
    assert elements.dtype == vector.dtype
    assert elements.tobytes() == vector.tobytes()


def test_a_row_that_states_another_dim_is_damage() -> None:
    stored = seal(b"k", bytes(40 + 4), Kind.ROW, 3, 1, 2)
    with pytest.raises(DataLoss) as damage:
        unpack_row(Table.VECTORS, b"k", stored)
    assert damage.value.reason == "BAD_RECORD"
    with pytest.raises(DataLoss):
        unpack_row(Table.VECTORS, b"k", seal(b"k", bytes(10), Kind.ROW, 3, 1, 0))
    with pytest.raises(DataLoss):
        unpack_row(Table.VECTORS, b"k", seal(b"k", bytes(48), Kind.ROW, 2, 1, 2))


def test_the_header_is_as_long_as_the_format_page_says() -> None:
    assert HEADER.size == 32


# -- ids


@given(
    key=st.binary(min_size=32, max_size=32),
    kind=st.sampled_from(IdKind),
    no=st.integers(0, 2**56 - 1),
)
def test_an_id_gives_back_its_number_to_its_user_only(key: bytes, kind: IdKind, no: int) -> None:
    text = make_id(key, kind, no)
    assert len(text) == 32
    assert parse_id(key, kind, text) == no
    assert parse_id(bytes(32) if key != bytes(32) else b"x" * 32, kind, text) is None
    assert parse_id(key, IdKind.FACT if kind is IdKind.CLIP else IdKind.CLIP, text) is None
    assert parse_id(key, kind, text.upper()) in (None, no)


@given(
    no=st.integers(0, 2**56 - 1), at=st.integers(0, 31), digit=st.sampled_from("0123456789abcdef")
)
def test_a_changed_digit_makes_no_id(no: int, at: int, digit: str) -> None:
    key = b"k" * 32
    text = make_id(key, IdKind.CLIP, no)
    assume(text[at] != digit)
    assert parse_id(key, IdKind.CLIP, text[:at] + digit + text[at + 1 :]) is None


@given(text=st.text(max_size=40) | st.text("0123456789abcdef", min_size=32, max_size=32))
def test_no_text_is_an_id_by_chance(text: str) -> None:
    assert parse_id(b"k" * 32, IdKind.CLIP, text) is None


# -- keys


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (schema.number_key, (u32,)),
        (schema.revision_key, (u64,)),
        (schema.version_key, (u64, u64)),
        (schema.ledger_key, (u32, st.integers(0, EPOCH_MAX), st.integers(0, SEQ_MAX))),
        (schema.vector_key, (u32, u64, u64)),
        (schema.keyframe_key, (u64, u64, u32)),
        (schema.text_key, (u32, st.integers(0, 255), u64, u32, u64)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
@given(data=st.data())
def test_keys_sort_as_their_parts(
    make: Callable[..., bytes], parts: tuple[st.SearchStrategy[int], ...], data: st.DataObject
) -> None:
    one = data.draw(st.tuples(*parts))
    # Equal beginnings are what makes the later parts count.
    other = one[: data.draw(st.integers(0, len(one)))]
    other += data.draw(st.tuples(*parts[len(other) :]))
    assert (make(*one) < make(*other)) == (one < other)
    assert (make(*one) == make(*other)) == (one == other)


@given(
    no=u64,
    birth=u64,
    space=u32,
    seq=st.integers(0, SEQ_MAX),
)
def test_keys_give_back_their_parts(no: int, birth: int, space: int, seq: int) -> None:
    assert schema.split_version_key(schema.version_key(no, birth)) == (no, birth)
    assert schema.split_vector_key(schema.vector_key(space, no, birth)) == (space, no, birth)
    assert schema.split_ledger_key(schema.ledger_key(space, 7, seq)) == (space, 7, seq)
    assert schema.split_text_key(schema.text_key(space, 1, no, 9, birth)) == (
        space,
        1,
        no,
        9,
        birth,
    )


@given(one=st.text(min_size=1, max_size=12), other=st.text(min_size=1, max_size=12), birth=u64)
def test_no_value_key_begins_another(one: str, other: str, birth: int) -> None:
    """Versions of one key stand together, and never among those of another."""
    assume(one != other)
    assert not schema.value_key(other, birth).startswith(schema.value_key(one, 0)[:-8])
