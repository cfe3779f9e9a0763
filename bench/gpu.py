"""Questions to rows on a GPU, and without: one at a time and 64 at once.

``python -m bench ground --device auto|cpu|gpu [--rows N]``: N rows (1,000,000) of 1536-d in one
user's matrix, 10 hits.  The same body runs the tiers of the CPU and, where FAISS finds one, the GPU, in one run; the
limit is a plain ``torch`` product and ``topk`` over the same rows as float16 on the same device, where torch sees one.
Recall is counted against every row scored in float32 on the CPU.  10,000,000 rows want 70 GB of memory, and 31 GB on
the GPU.  ``gpu_vs_cpu`` and ``gpu_vs_torch`` are of the medians of questions one at a time, ``gpu_64_vs_torch`` of the
time that 64 take.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

from bench.report import Result, Setup, percentile, result
from bench.workloads.tiers import Rows, made
from memdb.index import flat
from memdb.index.gpu import Gpu, find_gpu
from memdb.index.matrix import Matrix
from memdb.index.tiers import QUESTIONS_MIN, Tiers

LIMIT = 10
AT_ONCE = 64
_BLOCK = 65_536

Ask = Callable[[Rows], Any]


def run(setup: Setup, device: str) -> Result:
    """Measure.  Raises `FailedPrecondition` (``NO_GPU``) where the device is ``gpu`` and there is none."""
    gpu = find_gpu(device)
    rows, asked = setup.rows or (3000 if setup.quick else 1_000_000), 64 if setup.quick else 256
    figures = measured(rows, asked, setup.seed, gpu)
    ratios: dict[str, float] = {}
    if gpu is not None:
        ratios["gpu_vs_cpu"] = figures["gpu_p50_ms"] / figures["cpu_p50_ms"]
        if "torch_p50_ms" in figures:
            ratios["gpu_vs_torch"] = figures["gpu_p50_ms"] / figures["torch_p50_ms"]
            of_64 = 1e3 * AT_ONCE / figures["gpu_64_questions_per_s"]
            ratios["gpu_64_vs_torch"] = of_64 / figures["torch_batch_64_ms"]
    return result("ground", setup, {"device": device, "rows": rows}, figures, ratios)


def measured(count: int, asked: int, seed: int, gpu: Gpu | None) -> dict[str, float]:
    """Figures by device."""
    questions = made("views", seed, asked, stream=1)
    matrix = Matrix(questions.shape[1])
    for begin in range(0, count, _BLOCK):
        rows = made("views", seed, min(_BLOCK, count - begin), stream=2 + begin)
        matrix.append(rows)
    truth = [set(flat.search(matrix, count, q, LIMIT, None)[0].tolist()) for q in questions[:32]]
    ways: dict[str, Ask] = {}
    figures: dict[str, float] = {}
    for name, device in (("cpu", None), ("gpu", gpu)):
        if name == "gpu" and device is None:
            continue
        tiers = Tiers(matrix)
        for question in questions[:QUESTIONS_MIN]:
            tiers.search(count, question, LIMIT, None)
        begin_s = time.perf_counter()
        tiers.maintain(lambda: False, device)
        figures[f"{name}_prepare_s"] = time.perf_counter() - begin_s

        def ask(question: Rows, tiers: Tiers = tiers) -> set[int]:
            return set(tiers.search(count, question, LIMIT, None)[0].tolist())

        ways[name] = ask
    if gpu is not None:
        figures["gpu_bytes"] = gpu.bytes_used
        if find_spec("torch") is not None:
            ways["torch"] = _torch(matrix, count)
    for name, way in ways.items():
        alone = _alone(way, questions)
        figures[f"{name}_p50_ms"], figures[f"{name}_p99_ms"] = _percentiles(alone)
        if name == "torch":
            figures["torch_batch_64_ms"] = _alone(way, questions[np.newaxis, :AT_ONCE])[0]
            continue
        together, rate = _together(way, questions)
        figures[f"{name}_64_p50_ms"], figures[f"{name}_64_p99_ms"] = _percentiles(together)
        figures[f"{name}_64_questions_per_s"] = rate
        hits = sum(
            len(way(question) & expected)
            for question, expected in zip(questions, truth, strict=False)
        )
        figures[f"{name}_recall"] = hits / (LIMIT * len(truth))
    return figures


def _torch(matrix: Matrix, count: int) -> Ask:
    import torch

    device = torch.device("cuda")
    rows = torch.empty((count, matrix.width), dtype=torch.float16, device=device)
    for begin in range(0, count, _BLOCK):
        part = matrix.take_padded(np.arange(begin, min(begin + _BLOCK, count)))
        rows[begin : begin + len(part)] = torch.from_numpy(part).to(device)

    def ask(questions: Rows) -> None:
        asked = torch.from_numpy(np.atleast_2d(questions)).to(device, torch.float16)
        torch.topk(asked @ rows.T, LIMIT, dim=1).indices.cpu()

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
