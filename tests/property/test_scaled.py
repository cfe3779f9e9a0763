"""Rows that are compared as codes point where the decoded rows point."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memdb.codecs.grid import _HEAD, decode_grid
from memdb.codecs.scaled import scaled_rows
from memdb.codecs.tensors import decode_verified, encode_tensor
from memdb.errors import DataLoss
from memdb.index.directions import unit_rows
from memdb.types.tensor import Codec, EncodedTensor

pytestmark = pytest.mark.property


@pytest.mark.parametrize("codec", Codec)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 12),
    dim=st.integers(1, 100),
    period=st.integers(0, 5),
    scale=st.sampled_from([1e-6, 1e-5, 1e-3, 1.0, 300.0]),
)
def test_directions_are_those_of_the_decoded_rows(
    codec: Codec, seed: int, rows: int, dim: int, period: int, scale: float
) -> None:
    random = np.random.default_rng(seed)
    array = (random.normal(size=(rows, dim)) * scale).astype(np.float32)
    array[random.random(rows) < 0.2] = 0
    tensor = encode_tensor(array, codec, period=period)

    scaled, decoded = scaled_rows(tensor), decode_verified(tensor)

    assert scaled.shape == decoded.shape
    np.testing.assert_allclose(unit_rows(scaled), unit_rows(decoded), atol=2e-3)


def test_a_row_whose_step_is_nothing_is_nothing() -> None:
    """Whatever codes a hostile sender gave it: what is decoded is zeros as well."""
    array = np.array([[1, 2, 3], [100, 50, 25]], np.float32)
    tensor = encode_tensor(np.tile(array, (1, 40)), Codec.INT8)
    assert tensor.codec == Codec.INT8
    payload = bytearray(tensor.payload)
    payload[_HEAD.size : _HEAD.size + 2] = b"\0\0"
    crafted = EncodedTensor(Codec.INT8, tensor.shape, bytes(payload), tensor.checksum)

    assert not decode_grid(crafted.payload, (2, 120), "field")[0].any()
    rows = scaled_rows(crafted)
    assert not rows[0].any()
    assert rows[1].any()


@pytest.mark.parametrize("codec", [Codec.INT8, Codec.INT4, Codec.DELTA, Codec.F16_PLANES])
def test_what_is_cut_short_is_lost_data(codec: Codec) -> None:
    tensor = encode_tensor(np.random.default_rng(1).normal(size=(8, 64)).astype(np.float32), codec)
    cut = EncodedTensor(tensor.codec, tensor.shape, tensor.payload[:-5], tensor.checksum)
    with pytest.raises(DataLoss):
        scaled_rows(cut)
