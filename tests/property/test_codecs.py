"""Codecs that lose something: how much, to the bit what their layout says, and never more memory than
their description allows.
"""

from __future__ import annotations

import struct
import tracemalloc

import numpy as np
import pytest
import xxhash
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from memdb import DataLoss, InvalidArgument
from memdb.codecs.grid import STEPS
from memdb.codecs.int4 import GROUP, int4_bytes
from memdb.codecs.tensors import check_tensor, decode_tensor, encode_tensor, period_of
from memdb.types.arrays import Array, is_finite
from memdb.types.tensor import Codec, EncodedTensor

pytestmark = pytest.mark.property

GRIDS = (Codec.INT8, Codec.DELTA, Codec.COARSE)
LOSSY = (*GRIDS, Codec.INT4)
CODED = (*LOSSY, Codec.F16_PLANES, Codec.F16_ZSTD)
HALF_ULP = 2.0**-11
TINY = 2.0**-24
"""The least float16."""
SHARED = 1.02
UP = 1 + 2.0**-10

arrays = hnp.arrays(
    st.sampled_from((np.float16, np.float32)),
    st.tuples(st.integers(1, 12), st.integers(1, 80)),
    elements=st.floats(-65504, 65504, width=16, allow_subnormal=True),
)
periods = st.integers(0, 13)


def coded(payload: bytes, codec: Codec, shape: tuple[int, ...]) -> EncodedTensor:
    """A tensor whose checksum is right, whatever the payload is."""
    return EncodedTensor(codec, shape, payload, xxhash.xxh3_64_intdigest(payload))


def scene(
    rows: int, dim: int, change: float, *, period: int = 4, units: bool = False, seed: int = 11
) -> Array:
    """Frames of ``period`` regions, each with that much of itself new in every frame."""
    rng = np.random.default_rng(seed)
    still = rng.normal(size=(1, period, dim))
    new = change * rng.normal(size=(-(-rows // period), period, dim))
    tokens = (still + new).reshape(-1, dim)[:rows]
    if units:
        tokens /= np.linalg.norm(tokens, axis=1, keepdims=True)
    return tokens.astype(np.float32)


def cosines(one: Array, other: Array) -> Array:
    one, other = one.astype(np.float64), other.astype(np.float64)
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return np.asarray((one * other).sum(axis=1) / norms)


@given(array=arrays, codec=st.sampled_from(LOSSY), period=periods)
def test_no_element_is_further_off_than_its_step_allows(
    array: Array, codec: Codec, period: int
) -> None:
    tensor = encode_tensor(array, codec, period=period)
    assert len(tensor.payload) <= array.size * 2
    check_tensor(tensor)
    back = decode_tensor(tensor).astype(np.float64)
    exact = array.astype(np.float64)
    error = np.abs(back - exact)
    assert np.isfinite(back).all()
    if tensor.codec == Codec.F16:
        assert error.max() == 0
        return
    peaks = np.abs(exact).max(axis=1, keepdims=True)
    rounding = np.abs(exact) * HALF_ULP * 2 + TINY
    if codec == Codec.INT4:
        groups = -(-array.shape[1] // GROUP)
        padded = np.zeros((len(exact), groups * GROUP))
        padded[:, : array.shape[1]] = np.abs(exact)
        tops = padded.reshape(len(exact), groups, GROUP).max(axis=2)
        step = tops / 8 + peaks / 8 / 120 + TINY
        bound = np.repeat(step, GROUP, axis=1)[:, : array.shape[1]] + rounding
    else:
        step = peaks / 127
        if codec in STEPS:
            step = np.maximum(
                step, STEPS[codec] * np.sqrt(np.square(exact).mean(axis=1, keepdims=True))
            )
        bound = (step * SHARED * UP + TINY) / 2 + rounding
    assert (error <= bound).all()


@given(array=arrays, codec=st.sampled_from(GRIDS), period=periods)
def test_differences_lose_nothing(array: Array, codec: Codec, period: int) -> None:
    alone = encode_tensor(array, codec)
    after_the_last = encode_tensor(array, codec, period=period)
    if alone.codec == after_the_last.codec:
        assert decode_tensor(alone).tobytes() == decode_tensor(after_the_last).tobytes()


@given(array=arrays, codec=st.sampled_from(GRIDS), period=periods)
def test_a_grid_decodes_as_its_layout_says(array: Array, codec: Codec, period: int) -> None:
    tensor = encode_tensor(array, codec, period=period)
    if tensor.codec == Codec.F16:
        return
    payload, (rows, dim) = bytes(tensor.payload), tensor.shape
    flags, reserved, stated = struct.unpack_from("<BBH", payload)
    count = 1 if flags & 2 else rows
    steps = struct.unpack_from(f"<{count}e", payload, 4)
    codes = list(zstandard.ZstdDecompressor().decompress(payload[4 + 2 * count :]))
    assert reserved == 0
    assert bool(flags & 1) == (stated > 0)
    if flags & 1:
        for place in range(stated * dim, rows * dim):
            codes[place] = (codes[place] + codes[place - stated * dim]) % 256
    signed = [code - 256 if code > 127 else code for code in codes]
    expected = [step_of(steps, i // dim) * code for i, code in enumerate(signed)]
    assert decode_tensor(tensor).tobytes() == halves(expected)


def step_of(steps: tuple[float, ...], row: int) -> float:
    return steps[0] if len(steps) == 1 else steps[row]


def halves(values: list[float]) -> bytes:
    """As Python rounds them; numbers below have at most 24 bits, so nothing was rounded before."""
    return struct.pack(f"<{len(values)}e", *(value + 0.0 for value in values))


@given(array=arrays)
def test_int4_decodes_as_its_layout_says(array: Array) -> None:
    tensor = encode_tensor(array, Codec.INT4)
    if tensor.codec == Codec.F16:
        return
    payload, (rows, dim) = bytes(tensor.payload), tensor.shape
    groups, width = -(-dim // 32), -(-dim // 2)
    tops = struct.unpack_from(f"<{rows}e", payload)
    shares = struct.unpack_from(f"<{rows * groups}b", payload, 2 * rows)
    packed = payload[(2 + groups) * rows :]
    expected = []
    for row in range(rows):
        for place in range(dim):
            byte = packed[row * width + place // 2]
            half = byte >> 4 if place % 2 else byte & 15
            code = half - 16 if half > 7 else half
            expected.append(tops[row] * shares[row * groups + place // 32] / 128 * code)
    back = decode_tensor(tensor)
    # A zero has the sign that the product gives it.
    assert (back + np.float16(0)).tobytes() == halves(expected)


@pytest.mark.parametrize("dim", [384, 1536])
@pytest.mark.parametrize(
    ("codec", "cosine", "ratio"),
    [
        (Codec.INT8, 0.9998, 2.1),
        (Codec.INT4, 0.9945, 3.7),
        (Codec.DELTA, 0.9995, 2.9),
        (Codec.COARSE, 0.995, 4.2),
    ],
)
@pytest.mark.parametrize("scale", [1.0, 1e-3, 300.0])
def test_noise_keeps_its_direction(
    dim: int, codec: Codec, cosine: float, ratio: float, scale: float
) -> None:
    """Nothing repeats itself in noise: what a codec does at least."""
    array = scale * scene(64, dim, 1e3)
    array /= np.abs(array).max() / scale
    tensor = encode_tensor(array, codec, period=4)
    assert cosines(array, decode_tensor(tensor)).mean() >= cosine
    assert array.size * 2 / len(tensor.payload) >= ratio


def test_one_great_element_costs_the_others_nothing_but_their_bits() -> None:
    array = scene(64, 1536, 1e3)
    array /= np.linalg.norm(array, axis=1, keepdims=True)
    array[:, 7] = 1.5
    tensor = encode_tensor(array, Codec.COARSE, period=4)
    assert cosines(array, decode_tensor(tensor)).min() >= 0.994


@pytest.mark.parametrize("codec", GRIDS)
def test_a_still_scene_is_smaller_by_its_period(codec: Codec) -> None:
    array = scene(64, 384, 0.2)
    alone = encode_tensor(array, codec)
    known = encode_tensor(array, codec, period=4)
    assert len(known.payload) < 0.85 * len(alone.payload)


@pytest.mark.parametrize("codec", LOSSY)
def test_what_would_not_be_smaller_or_not_finite_is_coded_as_it_is(codec: Codec) -> None:
    for array in (np.ones((1, 1), np.float16), np.full((8, 40), 65504, np.float16)):
        tensor = encode_tensor(array, codec, period=4)
        assert tensor.codec == Codec.F16
        assert decode_tensor(tensor).tobytes() == array.tobytes()


@pytest.mark.parametrize("codec", tuple(Codec))
def test_zeros_stay_zeros(codec: Codec) -> None:
    array = scene(8, 64, 0.1)
    array[3] = 0
    assert not decode_tensor(encode_tensor(array, codec, period=2))[3].any()
    assert not decode_tensor(encode_tensor(np.zeros((8, 64), np.float32), codec)).any()


@pytest.mark.parametrize("codec", tuple(Codec))
def test_an_element_outside_float16_is_refused(codec: Codec) -> None:
    with pytest.raises(InvalidArgument) as refused:
        encode_tensor(np.array([[1.0, 70000.0]], np.float32), codec)
    assert refused.value.reason == "NOT_FINITE"


def test_the_period_is_the_rows_of_a_frame() -> None:
    ratios = (None, 0.25, 1 / 3, 1.0, 16.0, 1e-9)
    assert [period_of(ratio) for ratio in ratios] == [0, 4, 3, 1, 1, 0]


MUTATIONS = 1000
"""Of each codec: 6,000 together."""


@pytest.mark.parametrize("codec", CODED)
def test_mutated_payloads_neither_crash_nor_cost_memory(codec: Codec) -> None:
    """Refused on both sides, or decoded to finite elements; at most twice the stated size is
    allocated, and what a block of elements takes.
    """
    rng = np.random.default_rng(int(codec))
    shapes = ((60, 384), (1, 33), (7, 5), (256, 768))
    samples = [
        (shape, bytes(encode_tensor(scene(*shape, 0.3, units=units), codec, period=4).payload))
        for shape in shapes
        for units in (False, True)
    ]
    accepted = 0
    tracemalloc.start()
    try:
        for turn in range(MUTATIONS):
            shape, good = samples[turn % len(samples)]
            tensor = coded(mutated(good, rng), codec, shape)
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            try:
                back = decode_tensor(tensor)
            except DataLoss:
                with pytest.raises(InvalidArgument):
                    check_tensor(tensor)
            else:
                accepted += 1
                assert back.shape == shape
                assert is_finite(back)
                del back
                check_tensor(tensor)
            peak = tracemalloc.get_traced_memory()[1] - before
            assert peak <= 2 * 2 * shape[0] * shape[1] + (300 << 10)
    finally:
        tracemalloc.stop()
    assert accepted < MUTATIONS


def mutated(good: bytes, rng: np.random.Generator) -> bytes:
    """Bits flipped, mostly at the beginning, a piece cut out, put in, doubled or overwritten."""
    payload = bytearray(good)
    near = len(payload) if rng.random() < 0.5 else min(len(payload), 40)
    place, length = int(rng.integers(near)), int(rng.integers(1, 16))
    match int(rng.integers(6)):
        case 0:
            del payload[place : place + length]
        case 1:
            payload[place:place] = rng.bytes(length)
        case 2:
            payload[place : place + length] = rng.bytes(length)
        case 3:
            del payload[place:]
        case 4:
            payload += payload[place:]
        case _:
            for _ in range(int(rng.integers(1, 4))):
                payload[int(rng.integers(near))] ^= 1 << int(rng.integers(8))
    return bytes(payload)


ROWS, DIM = 4, 8
CODES = bytes(range(ROWS * DIM))
EQUAL = np.full(ROWS, 0.5, np.float16).tobytes()


def head(flags: int = 0, period: int = 0, reserved: int = 0) -> bytes:
    return struct.pack("<BBH", flags, reserved, period)


def frame(content: bytes = CODES) -> bytes:
    return zstandard.ZstdCompressor().compress(content)


def float16(value: float) -> bytes:
    return struct.pack("<e", value)


BAD_GRIDS = {
    "is empty": b"",
    "is a head": head(),
    "has no frame": head() + EQUAL,
    "has unknown flags": head(4) + EQUAL + frame(),
    "has a reserved byte": head(reserved=1) + EQUAL + frame(),
    "has a period and no differences": head(0, 1) + EQUAL + frame(),
    "has differences and no period": head(1, 0) + EQUAL + frame(),
    "has a period of all rows": head(1, ROWS) + EQUAL + frame(),
    "has a step too few": head() + EQUAL[:-2] + frame(),
    "has a step too many": head(2) + float16(1) * 2 + frame(),
    "has a NaN": head(2) + float16(float("nan")) + frame(),
    "has an infinite step": head(2) + float16(float("inf")) + frame(),
    "has a negative step": head(2) + float16(-1) + frame(),
    "has a step beyond float16": head(2) + float16(512) + frame(),
    "has a code too few": head(2) + float16(1) + frame(CODES[:-1]),
    "has a code too many": head(2) + float16(1) + frame(CODES + b"\0"),
    "has more behind it": head(2) + float16(1) + frame() + b"\0",
    "has two frames": head(2) + float16(1) + frame() * 2,
}


@pytest.mark.parametrize("codec", GRIDS)
@pytest.mark.parametrize("case", BAD_GRIDS)
def test_a_bad_grid_is_refused(case: str, codec: Codec) -> None:
    refuse(coded(BAD_GRIDS[case], codec, (ROWS, DIM)), "BAD_FRAME")


def test_a_grid_made_by_hand_is_taken() -> None:
    """So that the cases above are refused for what is wrong with them."""
    tensor = coded(head(3, 1) + float16(511.75) + frame(b"\x7f" * 32), Codec.DELTA, (ROWS, DIM))
    check_tensor(tensor)
    # 127, 254 = -2, 125, 252 = -4
    assert decode_tensor(tensor)[:, 0].tolist() == [
        np.float16(511.75 * code) for code in (127, -2, 125, -4)
    ]
    lowest = coded(head(2) + float16(511.75) + frame(b"\x80" * 32), Codec.INT8, (ROWS, DIM))
    assert (decode_tensor(lowest) == -65504).all()


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "LENGTH_MISMATCH"),
        (bytes(int4_bytes(ROWS, DIM) - 1), "LENGTH_MISMATCH"),
        (bytes(int4_bytes(ROWS, DIM) + 1), "LENGTH_MISMATCH"),
        (float16(float("nan")) + bytes(int4_bytes(ROWS, DIM) - 2), "BAD_FRAME"),
        (float16(float("inf")) + bytes(int4_bytes(ROWS, DIM) - 2), "BAD_FRAME"),
        (float16(-1) + bytes(int4_bytes(ROWS, DIM) - 2), "BAD_FRAME"),
        (float16(8192) + bytes(int4_bytes(ROWS, DIM) - 2), "BAD_FRAME"),
    ],
)
def test_bad_int4_is_refused(payload: bytes, reason: str) -> None:
    refuse(coded(payload, Codec.INT4, (ROWS, DIM)), reason)


def test_the_greatest_int4_is_finite() -> None:
    payload = float16(8188) * ROWS + b"\x80" * ROWS + b"\x88" * (ROWS * DIM // 2)
    assert (decode_tensor(coded(payload, Codec.INT4, (ROWS, DIM))) == 65504).all()


def test_planes_with_an_infinite_element_are_refused() -> None:
    raw = np.array([[1, np.inf]], np.float16).view(np.uint8).reshape(-1, 2)
    refuse(coded(frame(raw[:, ::-1].T.tobytes()), Codec.F16_PLANES, (1, 2)), "NOT_FINITE")


def refuse(tensor: EncodedTensor, reason: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        check_tensor(tensor)
    assert refused.value.reason == reason
    with pytest.raises(DataLoss) as lost:
        decode_tensor(tensor)
    assert lost.value.reason == reason
