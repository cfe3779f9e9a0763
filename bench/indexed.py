"""The approximate tier of a matrix, and FAISS's own inverted file at the same recall, for `bench.workloads.tiers`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import faiss
import numpy as np

from bench.report import median, percentile
from memdb.index.indexed import RECENT_MIN, Approximation
from memdb.index.matrix import Matrix
from memdb.index.tiers import QUESTIONS_MIN, Tiers
from memdb.types.arrays import Array

_TRAINED_PER_LIST: Final = 40
_ROUNDS: Final = 8
_BLOCK: Final = 8192


def trained(matrix: Matrix, questions: Array, limit: int) -> tuple[Tiers, float]:
    """Tiers whose lists are in use, if these questions let them be, and the processor time that took."""
    tiers, approximation = Tiers(matrix), Approximation(matrix.rows)
    tiers.is_quick(matrix.rows, None, QUESTIONS_MIN)
    begin_s = time.process_time()
    tiers.maintain(lambda: False, None, approximation)
    spent_s = time.process_time() - begin_s
    for question in questions[: 4 * RECENT_MIN]:
        tiers.approximate(matrix.rows, question, limit, None, None)
    begin_s = time.process_time()
    tiers.maintain(lambda: False, None, approximation)
    return tiers, spent_s + time.process_time() - begin_s


def inverted_file(matrix: Matrix) -> tuple[Any, float]:
    """FAISS's IVF of whole rows, as many lists as the root of the rows, and the processor time that took."""
    rows = matrix.rows
    count = int(rows**0.5)
    begin_s = time.process_time()
    quantizer = faiss.IndexFlatIP(matrix.dim)
    index = faiss.IndexIVFFlat(quantizer, matrix.dim, count, faiss.METRIC_INNER_PRODUCT)
    index.cp.niter = _ROUNDS
    index.cp.max_points_per_centroid = _TRAINED_PER_LIST
    sample = np.linspace(0, rows - 1, min(rows, _TRAINED_PER_LIST * count)).astype(np.int64)
    index.train(matrix.take(sample))
    for begin in range(0, rows, _BLOCK):
        index.add(matrix.take(np.arange(begin, min(begin + _BLOCK, rows))))
    return (quantizer, index), time.process_time() - begin_s


def compare(
    matrix: Matrix, questions: Array, limit: int, name: str
) -> tuple[dict[str, float], dict[str, float]]:
    """Figures and ratios of both, question by question in turns, FAISS with the least probes that find as much."""
    half = len(questions) // 2
    tiers, ours_s = trained(matrix, questions[:half], limit)
    breadth = tiers.indexed.breadth
    if breadth is None:
        return {f"indexed_looked_at_{name}": 0.0}, {}
    asked = questions[half:]
    expected = [tiers.search(matrix.rows, question, limit, None)[0] for question in asked]
    found = [_ours(tiers, matrix, question, limit) for question in asked]
    recall = _recall(found, expected)
    (_quantizer, index), faiss_s = inverted_file(matrix)
    index.nprobe = 1
    while (theirs := _recall([_theirs(index, q, limit) for q in asked], expected)) < recall:
        if index.nprobe >= index.nlist:
            break
        index.nprobe = max(index.nprobe + 1, index.nprobe * 5 // 4)
    spent: dict[str, list[float]] = {"indexed": [], "faiss_ivf": []}
    used: dict[str, list[float]] = {"indexed": [], "faiss_ivf": []}
    ways: dict[str, Callable[[Array], Array]] = {
        "indexed": lambda question: _ours(tiers, matrix, question, limit),
        "faiss_ivf": lambda question: _theirs(index, question, limit),
    }
    for question in asked:
        for way, ask in ways.items():
            begin_s, begin_cpu_s = time.perf_counter(), time.process_time()
            ask(question)
            used[way].append((time.process_time() - begin_cpu_s) * 1e3)
            spent[way].append((time.perf_counter() - begin_s) * 1e3)
    figures = {
        f"indexed_p50_ms_{name}": median(spent["indexed"]),
        f"indexed_p99_ms_{name}": percentile(spent["indexed"], 99),
        f"faiss_ivf_p50_ms_{name}": median(spent["faiss_ivf"]),
        f"indexed_cpu_ms_{name}": median(used["indexed"]),
        f"faiss_ivf_cpu_ms_{name}": median(used["faiss_ivf"]),
        f"indexed_recall_{name}": recall,
        f"faiss_ivf_recall_{name}": theirs,
        f"indexed_looked_at_{name}": float(breadth.lists),
        f"faiss_ivf_nprobe_{name}": float(index.nprobe),
        f"indexed_made_cpu_s_{name}": ours_s,
        f"faiss_ivf_made_cpu_s_{name}": faiss_s,
    }
    return figures, {
        f"indexed_vs_faiss_ivf_{name}": median(spent["indexed"]) / median(spent["faiss_ivf"]),
        f"indexed_vs_faiss_ivf_cpu_{name}": median(used["indexed"]) / median(used["faiss_ivf"]),
    }


def _ours(tiers: Tiers, matrix: Matrix, question: Array, limit: int) -> Array:
    found = tiers.approximate(matrix.rows, question, limit, None, None)
    return tiers.search(matrix.rows, question, limit, None)[0] if found is None else found.numbers


def _theirs(index: Any, question: Array, limit: int) -> Array:
    _, numbers = index.search(question[np.newaxis], limit)
    return np.asarray(numbers[0])


def _recall(found: list[Array], expected: list[Array]) -> float:
    return float(
        np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, expected, strict=True)])
    )
