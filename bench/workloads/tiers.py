"""Search of one user's rows in process: exactly, by codes, by heads and FAISS's flat index, and by lists beside
FAISS's inverted file at the same recall.

5,400, 20,000 and 100,000 rows of 1536-d, 10 hits, one question at a time, of two kinds of data: ``scenes`` (as
`bench.data`: 200 directions at right angles, and noise in all 1536 dimensions, which suits codes least) and ``views``
(200 directions, noise as large as they are in 48 dimensions, a fifth in all: what comes back is alike in a
few ways).  The ways take turns question by question.  Every exact answer is compared with FAISS's.  Lists are
measured at 100,000 rows, and with ``--rows N`` at N alone, where nothing else is: 12 GB of memory for a million.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from bench import data
from bench.indexed import compare
from bench.report import Result, Setup, median, percentile, result
from memdb.index import flat
from memdb.index.matrix import Matrix
from memdb.index.tiers import QUESTIONS_MIN, Tiers

LIMIT = 10
QUESTIONS = 200
KINDS = ("scenes", "views")
INDEXED_ROWS_MIN = 50_000
"""As `[index] approximate_rows_min`."""
_SCENES = 200
_WAYS = 48
_BLOCK = 4096
_BLOCKS_ROWS = 16_384

Rows = npt.NDArray[np.float32]


def run(setup: Setup) -> Result:
    """Measure."""
    sizes, asked = ((3000,), 12) if setup.quick else ((5400, 20_000, 100_000), QUESTIONS)
    figures: dict[str, float] = {}
    ratios: dict[str, float] = {}
    least = 0 if setup.quick else INDEXED_ROWS_MIN
    for kind in KINDS:
        for size in sizes if setup.rows is None else ():
            rows, questions = made(kind, setup.seed, size), made(kind, setup.seed, asked, stream=1)
            name = f"{kind}_{size}"
            spent = _asked(rows, questions, figures, name)
            for way, values in spent.items():
                figures[f"{way}_p50_ms_{name}"] = median(values)
            figures[f"tiers_p99_ms_{name}"] = percentile(spent["tiers"], 99)
            for way in ("faiss", "heads"):
                ratios[f"tiers_vs_{way}_{name}"] = median(spent["tiers"]) / median(spent[way])
            del rows
            if size >= least:
                _indexed(setup, kind, size, figures, ratios)
        if setup.rows is not None:
            _indexed(setup, kind, setup.rows, figures, ratios)
    config: dict[str, object] = {"dim": data.DIM, "limit": LIMIT, "questions": asked}
    return result("tiers", setup, config, figures, ratios)


def _indexed(
    setup: Setup, kind: str, size: int, figures: dict[str, float], ratios: dict[str, float]
) -> None:
    matrix = Matrix(data.DIM)
    for block in blocks(kind, setup.seed, size):
        matrix.append(block)
    asked = 40 if setup.quick else 2 * QUESTIONS
    questions = made(kind, setup.seed, asked, stream=1)
    seen, compared = compare(matrix, questions, LIMIT, f"{kind}_{size}")
    figures |= seen
    ratios |= compared


def blocks(kind: str, seed: int, count: int) -> Iterator[Rows]:
    """As many rows as `made`, some at a time; not the same ones."""
    for number, begin in enumerate(range(0, count, _BLOCKS_ROWS)):
        yield made(kind, seed, min(_BLOCKS_ROWS, count - begin), stream=2 + number)


def made(kind: str, seed: int, count: int, *, stream: int = 0) -> Rows:
    """(count, 1536) float32 rows of unit length; other ``stream``, others around the same scenes."""
    if kind == "scenes":
        rows = data.vectors(seed, count, stream=stream).astype(np.float32)
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))
    shared = np.random.default_rng(seed)
    scenes = _unit(shared.standard_normal((_SCENES, data.DIM), np.float32))
    ways = _unit(shared.standard_normal((_WAYS, data.DIM), np.float32))
    rng = np.random.default_rng((seed, 4, stream))
    out = np.empty((count, data.DIM), np.float32)
    for begin in range(0, count, _BLOCK):
        part = out[begin : begin + _BLOCK]
        part[:] = scenes[rng.integers(_SCENES, size=len(part))]
        part += rng.standard_normal((len(part), _WAYS), np.float32) @ ways / np.sqrt(_WAYS)
        part += rng.standard_normal(part.shape, np.float32) * (0.2 / np.sqrt(data.DIM))
        part[:] = _unit(part)
    return out


def _unit(rows: Rows) -> Rows:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def _asked(
    rows: Rows, questions: Rows, figures: dict[str, float], name: str
) -> dict[str, list[float]]:
    count = len(rows)
    matrix = Matrix(data.DIM)
    for begin in range(0, count, _BLOCK):
        matrix.append(rows[begin : begin + _BLOCK])
    reference: Any = faiss.IndexFlatIP(data.DIM)
    reference.add(rows)
    tiers = Tiers(matrix)
    spent_s = 0.0
    for _ in range(3):  # longer codes are taken after some questions, where shorter tell too little
        for question in questions[: max(QUESTIONS_MIN, 40)]:
            tiers.search(count, question, LIMIT, None)
        begin_s = time.process_time()
        if tiers.is_due:
            tiers.maintain(lambda: False)
            spent_s += time.process_time() - begin_s
    figures[f"codes_cpu_s_{name}"] = max(spent_s, 1e-6)
    figures[f"coded_share_{name}"] = max(tiers.coded_rows, 1) / count
    spent: dict[str, list[float]] = {"tiers": [], "heads": [], "faiss": []}
    for question in questions:
        begin_s = time.perf_counter()
        found, _ = tiers.search(count, question, LIMIT, None)
        spent["tiers"].append((time.perf_counter() - begin_s) * 1e3)
        begin_s = time.perf_counter()
        flat.search(matrix, count, question, LIMIT, None)
        spent["heads"].append((time.perf_counter() - begin_s) * 1e3)
        begin_s = time.perf_counter()
        _, expected = reference.search(question[np.newaxis], LIMIT)
        spent["faiss"].append((time.perf_counter() - begin_s) * 1e3)
        assert found.tolist() == expected[0].tolist(), "an answer is not FAISS's"
    return spent
