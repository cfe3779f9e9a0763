"""Short-term memory as rows of the right direction and any length: what cosines need, and no more.

A cosine does not see by what its row was multiplied.  So rows of whole codes are compared as the codes that
they are, without their steps and without a rounding to float16, and nothing has to be made of unit length::

    INT8, DELTA, COARSE    step * code                  the codes
    INT4                   top * share / 128 * code     share * code, but for rows next to nothing

A direction differs from that of the decoded row by what `decode_tensor` rounds, 5e-4 of a radian at most.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from memdb.codecs.grid import decode_grid_codes
from memdb.codecs.int4 import decode_int4_codes
from memdb.codecs.tensors import decode_verified
from memdb.errors import DataLoss, InvalidArgument
from memdb.types.arrays import Array
from memdb.types.tensor import Codec, EncodedTensor, check_description

_GRIDS: Final = (Codec.INT8, Codec.DELTA, Codec.COARSE)


def scaled_rows(tensor: EncodedTensor) -> Array:
    """(rows, dim) float32: the rows of a tensor that the store has just compared with its checksum, each
    times a factor of its own, above 0.

    Raises `DataLoss`.
    """
    if tensor.codec not in (*_GRIDS, Codec.INT4):
        return decode_verified(tensor).astype(np.float32)
    rows, dim = tensor.shape
    try:
        check_description(tensor, "short_memory")
        if tensor.codec == Codec.INT4:
            return decode_int4_codes(tensor.payload, (rows, dim), "short_memory")
        return decode_grid_codes(tensor.payload, (rows, dim), "short_memory")
    except InvalidArgument as error:
        raise DataLoss(error.message, reason=error.reason) from error
