"""Coded tensors: what was encoded comes back; whatever else is refused before memory is given to it."""

from __future__ import annotations

import struct
import tracemalloc

import numpy as np
import pytest
import xxhash
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from memdb import DataLoss, InvalidArgument
from memdb.codecs.tensors import check_tensor, decode_tensor, encode_tensor
from memdb.types.arrays import Array
from memdb.types.limits import DIM_MAX, TOKENS_MAX
from memdb.types.tensor import Codec, EncodedTensor

pytestmark = pytest.mark.property

shapes = st.tuples(st.integers(1, 12), st.integers(1, 24))
finite = hnp.arrays(
    np.float16, shapes, elements=st.floats(-60000, 60000, width=16, allow_subnormal=True)
)
codecs = st.sampled_from(tuple(Codec))
lossless = st.sampled_from((Codec.F16, Codec.F16_ZSTD, Codec.F16_PLANES))
ROWS, DIM = 4, 8
RAW = np.arange(ROWS * DIM, dtype=np.float16).tobytes()


def coded(
    payload: bytes, codec: Codec = Codec.F16_ZSTD, shape: tuple[int, ...] = (ROWS, DIM)
) -> EncodedTensor:
    """A tensor whose checksum is right, whatever the payload is."""
    return EncodedTensor(codec, shape, payload, xxhash.xxh3_64_intdigest(payload))


@given(array=finite, codec=lossless)
def test_what_was_encoded_comes_back(array: Array, codec: Codec) -> None:
    tensor = encode_tensor(array, codec)
    check_tensor(tensor)
    back = decode_tensor(tensor)
    assert back.tobytes() == array.tobytes()
    assert back.shape == array.shape
    assert back.dtype == np.float16
    assert not back.flags.writeable


@given(array=finite, codec=codecs, data=st.data())
def test_a_flipped_bit_is_refused_and_is_damage_later(
    array: Array, codec: Codec, data: st.DataObject
) -> None:
    tensor = encode_tensor(array, codec)
    damaged = bytearray(tensor.payload)
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    wrong = EncodedTensor(tensor.codec, tensor.shape, bytes(damaged), tensor.checksum)
    with pytest.raises(InvalidArgument) as refused:
        check_tensor(wrong)
    assert refused.value.reason == "CHECKSUM"
    with pytest.raises(DataLoss):
        decode_tensor(wrong)


@given(
    payload=st.binary(max_size=200),
    codec=codecs,
    shape=st.lists(st.integers(-2, 4) | st.integers(-2, 2**40), max_size=3),
)
@example(payload=b"\x00\x00", codec=Codec.F16, shape=[])
@example(payload=b"\x00\x00", codec=Codec.F16, shape=[-1, -1])
@example(payload=b"\x00\x7c", codec=Codec.F16, shape=[1, 1])
def test_nothing_but_an_error_of_ours_for_any_bytes(
    payload: bytes, codec: Codec, shape: list[int]
) -> None:
    """With the checksum made to fit: the description is not believed either."""
    tensor = coded(payload, codec, tuple(shape))
    try:
        check_tensor(tensor)
    except InvalidArgument as refused:
        if codec is Codec.F16 and refused.reason == "NOT_FINITE":
            # Looked at when it is written, and only then.
            assert decode_tensor(tensor).shape == tensor.shape
            return
        with pytest.raises(DataLoss):
            decode_tensor(tensor)
    else:
        assert decode_tensor(tensor).shape == tensor.shape


@given(frame=st.binary(max_size=60), cut=st.integers(0, 60))
def test_any_mutation_of_a_frame_is_refused_or_harmless(frame: bytes, cut: int) -> None:
    good = zstandard.ZstdCompressor().compress(RAW)
    for mutated in (good[:cut], good[:cut] + frame, good[:cut] + frame + good[cut + len(frame) :]):
        tensor = coded(mutated)
        try:
            check_tensor(tensor)
        except InvalidArgument:
            with pytest.raises(DataLoss):
                decode_tensor(tensor)
        else:
            assert decode_tensor(tensor).shape == (ROWS, DIM)


def frame_header(size: int, window_log: int) -> bytes:
    """A zstd frame header with an 8-byte content size and a window descriptor (RFC 8878, 3.1.1)."""
    return struct.pack("<IBBQ", 0xFD2FB528, 0xC0, (window_log - 10) << 3, size)


def block(last: bool, kind: int, size: int, content: bytes) -> bytes:
    """A block: kind 0 raw, 1 one byte repeated ``size`` times."""
    return struct.pack("<I", last | kind << 1 | size << 3)[:3] + content


def repeated(size_claimed: int, blocks: int, window_log: int = 17) -> bytes:
    """A frame of ``blocks`` blocks, each 4 bytes that unpack to 128 KiB."""
    body = block(False, 1, 128 << 10, b"\x00") * (blocks - 1) + block(True, 1, 128 << 10, b"\x00")
    return frame_header(size_claimed, window_log) + body


HOSTILE = {
    "is no frame": b"mdbv" * 8,
    "is empty": b"",
    "states another size": zstandard.ZstdCompressor().compress(RAW + b"\x00\x00"),
    "states no size": zstandard.ZstdCompressor(write_content_size=False).compress(RAW),
    "is cut short": zstandard.ZstdCompressor().compress(RAW)[:-1],
    "has more behind it": zstandard.ZstdCompressor().compress(RAW) + b"\x00",
    "is followed by another frame": zstandard.ZstdCompressor().compress(RAW) * 2,
    "is a skippable frame": struct.pack("<II", 0x184D2A50, 4) + b"skip",
    "wants a dictionary": zstandard.ZstdCompressor(
        dict_data=zstandard.ZstdCompressionDict(RAW, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    ).compress(RAW),
    "claims 1 TiB": frame_header(1 << 40, 20) + block(True, 0, 0, b""),
    "claims its size and unpacks to 1 GiB": repeated(len(RAW), 8192),
    "claims a window of 2 GiB": frame_header(len(RAW), 31) + block(True, 0, len(RAW), RAW),
    "claims less than it holds": frame_header(len(RAW), 17)
    + block(True, 0, len(RAW) + 2, RAW + b"\x00\x00"),
    "holds less than it claims": frame_header(len(RAW), 17)
    + block(True, 0, len(RAW) - 2, RAW[:-2]),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_frame_is_refused_without_memory_for_it(case: str) -> None:
    tensor = coded(HOSTILE[case])
    tracemalloc.start()
    try:
        with pytest.raises(InvalidArgument) as refused:
            check_tensor(tensor)
        with pytest.raises(DataLoss):
            decode_tensor(tensor)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    if case != "wants a dictionary":
        assert refused.value.reason == "BAD_FRAME"
    assert peak_bytes < 4 << 20


def test_hand_made_frames_are_right_where_they_do_not_lie() -> None:
    """So that the cases above are refused for what they say, not for a mistake of the test."""
    good = frame_header(len(RAW), 17) + block(True, 0, len(RAW), RAW)
    check_tensor(coded(good))
    zeros = (128 << 10) * 3
    check_tensor(coded(repeated(zeros, 3), shape=(zeros // 16, 8)))


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        (EncodedTensor(99, (1, 1), b"\0\0", 0), "BAD_CODEC"),  # type: ignore[arg-type]
        (coded(RAW, Codec.F16, (ROWS * DIM,)), "BAD_SHAPE"),
        (coded(RAW, Codec.F16, (1, ROWS, DIM)), "BAD_SHAPE"),
        (coded(b"", Codec.F16, (0, DIM)), "EMPTY"),
        (coded(RAW, Codec.F16, (TOKENS_MAX + 1, 1)), "BAD_SHAPE"),
        (coded(RAW, Codec.F16, (1, DIM_MAX + 1)), "BAD_SHAPE"),
        (coded(RAW, Codec.F16, (TOKENS_MAX, DIM_MAX)), "TOO_LARGE"),
        (coded(RAW, Codec.F16, (2**33, 2**33)), "BAD_SHAPE"),
        (coded(RAW, Codec.F16, (ROWS, DIM + 1)), "LENGTH_MISMATCH"),
        (coded(np.array([[1, np.inf]], np.float16).tobytes(), Codec.F16, (1, 2)), "NOT_FINITE"),
        (coded(np.array([[1, np.nan]], np.float16).tobytes(), Codec.F16, (1, 2)), "NOT_FINITE"),
        (coded(np.array([[1, -np.inf]], np.float16).tobytes(), Codec.F16, (1, 2)), "NOT_FINITE"),
    ],
)
def test_a_wrong_description_is_refused(tensor: EncodedTensor, reason: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        check_tensor(tensor)
    assert refused.value.reason == reason


def test_a_float32_element_outside_float16_is_refused() -> None:
    with pytest.raises(InvalidArgument) as refused:
        encode_tensor(np.array([[1.0, 70000.0]], np.float32))
    assert refused.value.reason == "NOT_FINITE"


@pytest.mark.parametrize("size", [1, 32_768, 32_769, 98_304, 1 << 19, (1 << 19) + 1, 600_000])
def test_the_checksum_is_that_of_all_of_it_in_whatever_pieces_it_is_taken(size: int) -> None:
    array = np.arange(size, dtype=np.uint32).astype(np.uint16) & np.uint16(0x3FFF)
    for rows in (array.view(np.float16)[None], array.view(np.float16)[None].astype(np.float32)):
        if size <= DIM_MAX:
            tensor = encode_tensor(rows)
        else:
            tensor = encode_tensor(np.resize(rows, (-(-size // DIM_MAX), DIM_MAX)))
        assert tensor.checksum == xxhash.xxh3_64_intdigest(tensor.payload)


def test_a_payload_in_pieces_is_refused() -> None:
    pieces = memoryview(b"abcd")[::2]
    with pytest.raises(InvalidArgument) as refused:
        check_tensor(EncodedTensor(Codec.F16, (1, 1), pieces, xxhash.xxh3_64_intdigest(b"ac")))
    assert refused.value.reason == "BAD_TYPE"
