"""What a workload gets and gives: set-up, result, machine line, percentiles.

A result as JSON::

    {"workload": str, "seed": int, "machine": str, "config": {...}, "figures": {name: number},
     "ratios": {name: number}}

A figure's unit is the end of its name.  A ratio is ours ÷ the reference of the same run.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import faiss
import numpy as np


@dataclass(frozen=True, slots=True)
class Setup:
    """Where and how a workload runs."""

    folder: Path
    """An empty directory on the file system that is measured."""
    seed: int
    quick: bool
    peers: tuple[str, ...] | None = None
    """Of `peers`: which other engines; None: all."""
    vectors: int | None = None
    """Of `peers`: how many; None: 100,000."""
    report: Path | None = None
    """Where the result is written: of `peers` with its table and its chart, of `ground` by a device."""
    rows: int | None = None
    """Of `tiers`: how many are searched by lists, and nothing else; None: the usual sizes.  Of `ground` by a device."""
    seeds: tuple[int, ...] | None = None
    """Of `quality`: of all of its data; None: the one seed."""
    device: str | None = None
    """Of `ground`: rows of one matrix searched there, and nothing else; None: a server is asked."""
    seconds: float | None = None
    """Of `ground` by a device: after which nothing is begun any more; None: all is measured."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a workload found."""

    workload: str
    seed: int
    machine: str
    config: dict[str, object]
    figures: dict[str, float]
    ratios: dict[str, float]

    def as_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))


def result(
    workload: str,
    setup: Setup,
    config: dict[str, object],
    figures: dict[str, float],
    ratios: dict[str, float] | None = None,
) -> Result:
    """A result with this machine's line, numbers to four significant digits."""
    return Result(
        workload,
        setup.seed,
        machine(),
        {"quick": setup.quick, **config},
        {name: _rounded(value) for name, value in figures.items()},
        {name: _rounded(value) for name, value in (ratios or {}).items()},
    )


def machine() -> str:
    """The machine and the libraries that do the work.  Results with different lines are not comparable."""
    memory_gib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    names = ["lmdb", "faiss-cpu", "grpcio", "numpy"]
    if hasattr(faiss, "StandardGpuResources"):
        names[1] = "faiss-gpu-cuvs" if hasattr(faiss, "GpuIndexCagra") else "faiss-gpu"
    libraries = ", ".join(f"{name} {_version(name)}" for name in names)
    return (
        f"{os.cpu_count()} CPUs {platform.machine()}, {memory_gib:.0f} GiB, {platform.system()}, "
        f"Python {platform.python_version()}, {libraries}"
    )


def _version(name: str) -> str:
    """Of what lies there without being installed, nobody knows it."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "?"


def percentile(values: Sequence[float], share: float) -> float:
    """The ``share`` percentile (0 to 100)."""
    return float(np.percentile(np.asarray(values), share))


def median(values: Sequence[float]) -> float:
    """The middle value."""
    return percentile(values, 50)


def time_ms(call: Callable[[], object]) -> float:
    """How long one call takes."""
    begin = time.perf_counter()
    call()
    return (time.perf_counter() - begin) * 1e3


def text(result_: Result) -> str:
    """The result for people."""
    lines = [f"{result_.workload}  seed {result_.seed}  {result_.machine}"]
    lines += [f"  {name} = {value}" for name, value in result_.config.items()]
    lines += [f"  {name:<40} {value:>12g}" for name, value in result_.figures.items()]
    lines += [f"  {name:<40} {value:>12g}  (ratio)" for name, value in result_.ratios.items()]
    return "\n".join(lines)


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
