"""Questions to rows on a GPU, and without: one at a time and 64 at once.

``python -m bench ground --device auto|cpu|gpu [--rows N]``: N rows (1,000,000) of 1536-d in one user's matrix, 10 hits,
searched in one run by each of these ways, one after the other:

=============  ===================================================================================================
``cpu``        exact answers, by the tiers of the CPU
``cpu_lists``  approximate ones, by its lists; of up to 2,000,000 rows: to make them takes half a minute a million
``gpu``        exact answers, all rows on the GPU as float16
``gpu_ivf``    approximate ones, by lists on the GPU
``gpu_cagra``  the same by a graph, where FAISS is built with cuVS
``torch``      a plain ``torch`` product and ``topk`` over the same rows as float16 there, where torch sees a GPU
=============  ===================================================================================================

Those of the GPU where FAISS finds one, each with the GPU to itself.  Recall is counted against every row scored in
float32 on the CPU; ``X_bytes`` is what the budget counts, ``X_used_bytes`` by how much less CUDA has free.  A way that
has no room, or is measured not to find enough, is not taken: its recall is 0, and it has no times.  10,000,000 rows
want 110 GB of memory and 110 GB on the GPU.  ``X_vs_Y`` is of the medians of questions one at a time,
``X_64_vs_torch`` of the time that 64 take.  ``X_prepare_s`` is without codes that a way before made.
"""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import Any

import numpy as np

from bench import data
from bench.report import Result, Setup, percentile, result
from bench.workloads.tiers import Rows, made
from memdb.index import flat
from memdb.index.gpu import Gpu
from memdb.index.gpu_faiss import FaissOnGpu, find_gpu
from memdb.index.gpu_flat import PLACE_ROWS_MIN
from memdb.index.gpu_indexes import GpuIndexes
from memdb.index.indexed import RECENT_MIN, Approximation
from memdb.index.learned import Learned
from memdb.index.matrix import Matrix
from memdb.index.tiers import QUESTIONS_MIN, Tiers

LIMIT = 10
AT_ONCE = 64
LISTS_ROWS_MAX = 2_000_000
QUICK_ROWS = 3000
_BLOCK = 65_536
_MAKERS_MAX = 8
_TRUTHS = 32

Ask = Callable[[Rows], Any]


def run(setup: Setup, device: str) -> Result:
    """Measure.  Raises `FailedPrecondition` (``NO_GPU``) where the device is ``gpu`` and there is none."""
    indexes = None if find_gpu(device) is None else FaissOnGpu()
    rows, asked = (
        setup.rows or (QUICK_ROWS if setup.quick else 1_000_000),
        64 if setup.quick else 256,
    )
    if setup.quick and indexes is not None:
        rows = max(rows, PLACE_ROWS_MIN)
    figures = measured(rows, asked, setup.seed, indexes)
    return result("ground", setup, {"device": device, "rows": rows}, figures, ratios_of(figures))


def ratios_of(figures: dict[str, float]) -> dict[str, float]:
    """Of the ways that were taken."""
    ratios: dict[str, float] = {}
    for way in ("gpu", "gpu_ivf", "gpu_cagra"):
        if f"{way}_p50_ms" not in figures:
            continue
        for other in ("cpu", "cpu_lists", "torch"):
            if f"{other}_p50_ms" in figures:
                ratios[f"{way}_vs_{other}"] = figures[f"{way}_p50_ms"] / figures[f"{other}_p50_ms"]
        if "torch_batch_64_ms" in figures:
            of_64 = 1e3 * AT_ONCE / figures[f"{way}_64_questions_per_s"]
            ratios[f"{way}_64_vs_torch"] = of_64 / figures["torch_batch_64_ms"]
    return ratios


def measured(
    count: int, asked: int, seed: int, indexes: GpuIndexes | None, with_torch: bool = True
) -> dict[str, float]:
    """Figures by way; those of a GPU where there are ``indexes``."""
    questions = made("views", seed, asked, stream=1)
    matrix = _filled(count, seed)
    truth = [
        set(flat.search(matrix, count, question, LIMIT, None)[0].tolist())
        for question in questions[:_TRUTHS]
    ]
    figures: dict[str, float] = {}
    learned = _measure("cpu", matrix, None, "", questions, truth, figures, None)
    if count <= LISTS_ROWS_MAX:
        learned = _measure("cpu_lists", matrix, None, "", questions, truth, figures, learned)
    if indexes is None:
        return figures
    kinds = {"gpu": "flat", "gpu_ivf": "ivf", "gpu_cagra": "cagra"}
    for name, kind in kinds.items():
        if kind != "cagra" or indexes.has_graphs:
            gc.collect()  # what the way before had
            learned = _measure(name, matrix, indexes, kind, questions, truth, figures, learned)
    way = _torch(matrix, count) if with_torch and find_spec("torch") is not None else None
    if way is not None:
        figures["torch_p50_ms"], figures["torch_p99_ms"] = _percentiles(_alone(way, questions))
        figures["torch_batch_64_ms"] = float(
            np.median([_alone(way, questions[np.newaxis, :AT_ONCE])[0] for _ in range(9)])
        )
    return figures


def _filled(count: int, seed: int) -> Matrix:
    """Rows that do not depend on how many processors make them."""
    matrix = Matrix(data.DIM)

    def block(begin: int) -> Rows:
        return made("views", seed, min(_BLOCK, count - begin), stream=2 + begin)

    workers = min(os.cpu_count() or 1, _MAKERS_MAX)
    begins = list(range(0, count, _BLOCK))
    with ThreadPoolExecutor(workers) as pool:
        for first in range(0, len(begins), workers):  # no more of them at once, 400 MB each
            for rows in pool.map(block, begins[first : first + workers]):
                matrix.append(rows)
    return matrix


def _measure(
    name: str,
    matrix: Matrix,
    indexes: GpuIndexes | None,
    kind: str,
    questions: Rows,
    truth: list[set[int]],
    figures: dict[str, float],
    learned: Learned | None,
) -> Learned | None:
    """One way, made ready and asked; learned: codes of the rows, which those before may have made."""
    rows, tiers = matrix.rows, Tiers(matrix)
    if learned is not None:
        tiers.learn(learned)
    gpu = None if indexes is None else Gpu(indexes, 0, kind)
    free = 0 if indexes is None else indexes.free_bytes()
    is_near = name not in ("cpu", "gpu")
    approximation = Approximation(rows) if is_near else None
    tiers.is_quick(rows, None, QUESTIONS_MIN)
    begin_s = time.perf_counter()
    tiers.maintain(lambda: False, gpu, approximation)
    if is_near:
        for question in questions[: 4 * RECENT_MIN]:
            tiers.approximate(rows, question, LIMIT, None, None)
        tiers.maintain(lambda: False, gpu, approximation)
    figures[f"{name}_prepare_s"] = time.perf_counter() - begin_s

    def ask(question: Rows) -> set[int]:
        found = tiers.approximate(rows, question, LIMIT, None, None) if is_near else None
        if found is not None:
            return set(found.numbers.tolist())
        return set(tiers.search(rows, question, LIMIT, None)[0].tolist())

    if not _is_taken(tiers, gpu, is_near):
        # What was answered in another way would be told as its own.
        figures[f"{name}_recall"] = 0.0
        return tiers.learned
    alone = _alone(ask, questions)
    figures[f"{name}_p50_ms"], figures[f"{name}_p99_ms"] = _percentiles(alone)
    together, rate = _together(ask, questions)
    figures[f"{name}_64_p50_ms"], figures[f"{name}_64_p99_ms"] = _percentiles(together)
    figures[f"{name}_64_questions_per_s"] = rate
    hits = sum(
        len(ask(question) & expected) for question, expected in zip(questions, truth, strict=False)
    )
    figures[f"{name}_recall"] = hits / (LIMIT * len(truth))
    if indexes is not None and gpu is not None:
        figures[f"{name}_bytes"] = gpu.bytes_used
        figures[f"{name}_used_bytes"] = free - indexes.free_bytes()
        figures[f"{name}_failed"] = float(gpu.is_lost)
    return tiers.learned


def _is_taken(tiers: Tiers, gpu: Gpu | None, is_near: bool) -> bool:
    if gpu is None:
        return not is_near or tiers.indexed.breadth is not None
    return tiers.indexed.on_gpu.near is not None if is_near else gpu.bytes_used > 0


def _torch(matrix: Matrix, count: int) -> Ask | None:
    """None where torch sees no GPU."""
    import torch

    if not torch.cuda.is_available():
        return None
    device = torch.device("cuda")
    rows = torch.empty((count, matrix.width), dtype=torch.float16, device=device)
    for begin in range(0, count, _BLOCK):
        part = matrix.take_padded(np.arange(begin, min(begin + _BLOCK, count)))
        rows[begin : begin + len(part)] = torch.from_numpy(part).to(device)

    def ask(questions: Rows) -> None:
        asked = torch.from_numpy(np.atleast_2d(questions)).to(device, torch.float16)
        torch.topk(asked @ rows.T, LIMIT, dim=1).indices.cpu()

    ask(np.zeros((AT_ONCE, matrix.width), np.float32))  # what CUDA makes once
    return ask


def _alone(way: Ask, questions: Rows) -> list[float]:
    spent = []
    for question in questions:
        begin_s = time.perf_counter()
        way(question)
        spent.append((time.perf_counter() - begin_s) * 1e3)
    return spent


def _together(way: Ask, questions: Rows) -> tuple[list[float], float]:
    """Milliseconds of each of 64 threads' questions, and questions a second."""
    spent: list[float] = []
    start = threading.Barrier(AT_ONCE + 1)

    def client(number: int) -> None:
        start.wait()
        spent.extend(_alone(way, questions[number::AT_ONCE]))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    start.wait()
    begin_s = time.perf_counter()
    for thread in threads:
        thread.join()
    return spent, len(questions) / (time.perf_counter() - begin_s)


def _percentiles(spent: list[float]) -> tuple[float, float]:
    return percentile(spent, 50), percentile(spent, 99)
