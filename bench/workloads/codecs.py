"""What each tensor codec costs and keeps, on short-term memory of the bundled pipeline (384-d) and on the same
widened to 1536 dimensions (`bench.short_memory`).

Of each codec and both data sets: bytes of a clip, bytes of plain float16 ÷ that, cosine of every token to its
float32 original, and whether MaxSim ranks the clips of a recording as it does with the float32 originals: the
share of questions with the same best clip, and the share of the ten best that stay among them.  Rates are bytes
of float16 by time, one clip after another on one core, checksum included.

The figures without a codec's name are those of the one that `memdb-ingest` takes, the worse of the two data sets.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from bench.report import Result, Setup, median, percentile, result
from bench.short_memory import Memory, Piece, bundled_memory, widened
from memdb.codecs.tensors import check_tensor, decode_tensor, encode_checked, encode_tensor
from memdb.index.directions import unit_rows
from memdb.types.arrays import Array
from memdb.types.tensor import CODEC_NAMES, Codec, EncodedTensor
from perception.ingest_options import CODEC

DIM: Final = 1536
BEST: Final = 10


def run(setup: Setup) -> Result:
    """Measure."""
    real = bundled_memory(quick=setup.quick)
    wide = widened(real, DIM, setup.seed)
    rounds = 3 if setup.quick else 15
    figures: dict[str, float] = {}
    for label, memory in ((str(real.questions[0].shape[1]), real), (str(DIM), wide)):
        exact = _scores(memory, [piece.tokens for piece in memory.pieces])
        for name, codec in CODEC_NAMES.items():
            for key, value in _measured(memory, codec, exact, rounds).items():
                figures[f"{name}_{label}_{key}"] = value
    for key in ("compression_vs_f16", "cosine_mean", "top1_agreement", "decode_mb_s"):
        figures[key] = min(
            value for name, value in figures.items() if name in _of_default(key, real)
        )
    config: dict[str, object] = {
        "default_codec": CODEC,
        "clips": len(real.pieces),
        "tokens": sum(len(piece.tokens) for piece in real.pieces),
        "recordings": len({piece.recording for piece in real.pieces}),
        "questions": len(real.questions),
    }
    return result("codecs", setup, config, figures)


def _of_default(key: str, real: Memory) -> tuple[str, str]:
    return f"{CODEC}_{real.questions[0].shape[1]}_{key}", f"{CODEC}_{DIM}_{key}"


def _measured(memory: Memory, codec: Codec, exact: Array, rounds: int) -> dict[str, float]:
    period = memory.rows_per_frame
    arrays = [piece.coded_from for piece in memory.pieces]
    tensors = [encode_tensor(array, codec, period=period) for array in arrays]
    decoded = [decode_tensor(tensor) for tensor in tensors]
    plain_bytes = sum(2 * array.size for array in arrays)
    coded_bytes = sum(len(tensor.payload) for tensor in tensors)
    cosines = np.concatenate(
        [
            (unit_rows(piece.tokens) * unit_rows(array)).sum(axis=1)
            for piece, array in zip(memory.pieces, decoded, strict=True)
        ]
    )
    top1, top10 = _agreement(memory.pieces, exact, _scores(memory, decoded))
    return {
        "bytes_per_clip": coded_bytes / len(arrays),
        "compression_vs_f16": plain_bytes / coded_bytes,
        "cosine_mean": float(cosines.mean()),
        "cosine_p1": percentile(cosines.tolist(), 1),
        "top1_agreement": top1,
        "top10_agreement": top10,
        "encode_mb_s": _mb_s(lambda: _encode(arrays, codec, period), plain_bytes, rounds),
        "decode_mb_s": _mb_s(lambda: _decode(tensors), plain_bytes, rounds),
        "check_mb_s": _mb_s(lambda: _check(tensors), plain_bytes, rounds),
    }


def _scores(memory: Memory, clips: Sequence[Array]) -> Array:
    """(questions, clips) MaxSim, as `memdb.index.late_interaction.best_cosines` has for one of each."""
    tokens = unit_rows(np.concatenate(memory.questions))
    best = np.stack([(tokens @ unit_rows(clip).T).max(axis=1) for clip in clips], axis=1)
    lengths = [len(question) for question in memory.questions]
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    return np.asarray(np.add.reduceat(best, starts) / np.array(lengths)[:, None])


def _agreement(pieces: Sequence[Piece], exact: Array, scores: Array) -> tuple[float, float]:
    """Shares over questions and recordings: same best clip; ten best that stay."""
    recordings = np.array([piece.recording for piece in pieces])
    firsts: list[float] = []
    tens: list[float] = []
    for recording in np.unique(recordings):
        of_it = recordings == recording
        for wanted, found in zip(exact[:, of_it], scores[:, of_it], strict=True):
            before, after = np.argsort(-wanted)[:BEST], np.argsort(-found)[:BEST]
            firsts.append(float(before[0] == after[0]))
            tens.append(len(set(before) & set(after)) / len(before))
    return float(np.mean(firsts)), float(np.mean(tens))


def _encode(arrays: Sequence[Array], codec: Codec, period: int) -> None:
    for array in arrays:
        encode_checked(array, codec, period)


def _decode(tensors: Sequence[EncodedTensor]) -> None:
    for tensor in tensors:
        decode_tensor(tensor)


def _check(tensors: Sequence[EncodedTensor]) -> None:
    for tensor in tensors:
        check_tensor(tensor)


def _mb_s(call: Callable[[], None], size: int, rounds: int) -> float:
    spent: list[float] = []
    for _ in range(rounds):
        begin = time.perf_counter()
        call()
        spent.append(time.perf_counter() - begin)
    return size / median(spent) / 1e6
