"""Questions to rows on a GPU, and without: one at a time and 64 at once.

``python -m bench.gpu [--rows N] [--device auto|cpu|gpu]``: N rows (1,000,000) of 1536-d in one user's
matrix, 10 hits.  The same body runs the tiers of the CPU and, where FAISS finds one, the GPU, in turns; the limit is a
plain ``torch`` product and ``topk`` over the same rows as float16 on the same device, where torch sees one.
Recall is counted against every row scored in float32 on the CPU.  10,000,000 rows want 70 GB of memory, and 31 GB on
the GPU.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

from bench.report import machine
from bench.workloads.tiers import Rows, made
from memdb.index import flat
from memdb.index.gpu import Gpu, find_gpu
from memdb.index.matrix import Matrix
from memdb.index.tiers import QUESTIONS_MIN, Tiers

LIMIT = 10
AT_ONCE = 64
_BLOCK = 65_536

Ask = Callable[[Rows], Any]


def main(arguments: list[str] | None = None) -> int:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser("python -m bench.gpu", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--questions", type=int, default=256)
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args(arguments)
    found = measured(options.rows, options.questions, options.seed, find_gpu(options.device))
    json.dump({"machine": machine(), "rows": options.rows, **found}, sys.stdout, indent=1)
    print()
    return 0


def measured(count: int, asked: int, seed: int, gpu: Gpu | None) -> dict[str, object]:
    """Figures by device."""
    questions = made("views", seed, asked, stream=1)
    matrix = Matrix(questions.shape[1])
    for begin in range(0, count, _BLOCK):
        rows = made("views", seed, min(_BLOCK, count - begin), stream=2 + begin)
        matrix.append(rows)
    truth = [set(flat.search(matrix, count, q, LIMIT, None)[0].tolist()) for q in questions[:32]]
    ways: dict[str, Ask] = {}
    figures: dict[str, object] = {}
    for name, device in (("cpu", None), ("gpu", gpu)):
        if name == "gpu" and device is None:
            continue
        tiers = Tiers(matrix)
        for question in questions[:QUESTIONS_MIN]:
            tiers.search(count, question, LIMIT, None)
        begin_s = time.perf_counter()
        tiers.maintain(lambda: False, device)
        figures[f"{name}_prepare_s"] = round(time.perf_counter() - begin_s, 2)

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
        figures[f"{name}_64_questions_per_s"] = round(rate, 1)
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
    return round(float(np.percentile(spent, 50)), 3), round(float(np.percentile(spent, 99)), 3)


if __name__ == "__main__":
    sys.exit(main())
