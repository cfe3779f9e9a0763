"""The limit for `bench.gpu`: a plain product of ``torch`` and its ``topk``, of all rows as float16."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from bench.gpu_case import AT_ONCE, LIMIT, Case
from bench.workloads.tiers import Rows

_TIMES = 32


def take(case: Case, device: str = "cuda") -> str | None:
    """Measure it as the way ``torch``; why not, where torch sees no such device."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        return "torch sees no GPU"
    matrix, count = case.matrix, case.matrix.rows
    rows = torch.empty((count, matrix.width), dtype=torch.float16, device=device)
    done = 0
    for chunk in matrix.chunks(count):
        # Put together there, see `memdb.index.planes`: no processor here has to.
        bits = torch.from_numpy(chunk.head.view(np.int16)).to(device).to(torch.int32) << 16
        bits += torch.from_numpy(chunk.tail).to(device)
        rows[done : done + len(bits)] = bits.view(torch.float32)
        done += len(bits)
    _measure(case, rows)
    del rows
    if device == "cuda":
        torch.cuda.empty_cache()  # of which it gives nothing back by itself
    return None


def _measure(case: Case, rows: Any) -> None:
    import torch

    def ask(questions: Rows) -> list[set[int]]:
        asked = torch.from_numpy(questions).to(rows.device, torch.float16)
        found = torch.topk(asked @ rows.T, LIMIT, dim=1).indices.cpu()
        return [set(numbers) for numbers in found.tolist()]

    batch = case.questions[:AT_ONCE]
    ask(batch)  # what CUDA makes once
    ask(batch[:1])
    spent: dict[str, list[float]] = {"torch": [], "torch_64": []}
    answers: list[set[int]] = []
    for question in case.questions:
        begin_s = time.perf_counter()
        answers += ask(question[np.newaxis])
        spent["torch"].append((time.perf_counter() - begin_s) * 1e3)
        if case.is_over:
            break
    for _ in range(_TIMES):
        begin_s = time.perf_counter()
        ask(batch)
        spent["torch_64"].append((time.perf_counter() - begin_s) * 1e3)
        if case.is_over:
            break
    for name, milliseconds in spent.items():
        case.spent(name, milliseconds)
    case.figures["torch_bytes"] = rows.element_size() * rows.nelement()
    case.found("torch", answers)
