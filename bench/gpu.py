"""Questions to rows on a GPU, and without: one at a time and 64 at once.

``python -m bench ground --device auto|cpu|gpu [--rows N] [--seconds S] [--report DIR]``: N rows (1,000,000) of 1536-d
in one user's matrix, 10 hits, searched in one run by each of these ways, one after the other:

=============  ===================================================================================================
``gpu``        exact answers, all rows on the GPU as float16
``torch``      a plain ``torch`` product and ``topk`` over the same rows as float16 there, where torch sees a GPU
``gpu_ivf``    approximate ones, by lists on the GPU
``cpu_heads``  exact ones, by half of the bytes of every row on the CPU
``gpu_cagra``  approximate ones, by a graph, where FAISS is built with cuVS; of up to 8 GiB of rows as float16
``cpu``        exact ones, by codes of the rows, which take 20 s of a processor a million to make
``cpu_lists``  approximate ones, by its lists; of up to 2,000,000 rows: to make them takes half a minute a million
=============  ===================================================================================================

Those of the GPU where FAISS finds one.  ``X_p50_ms`` and ``X_p99_ms`` are of questions one at a time,
``X_64_p50_ms`` and ``X_64_p99_ms`` of each of 64 threads' (torch's: of 64 in one call), ``X_call_N_ms`` of FAISS's
call alone, with N questions.  Recall is counted against every row scored in float32 on the CPU; ``X_bytes`` is what
the budget counts, ``X_used_bytes`` by how much less CUDA has free, ``X_left_share`` of the questions that were left to
the CPU.  A way that is not taken has recall 0 and no times; ``left`` says why.  ``X_vs_Y`` is of the medians of
questions one at a time, ``X_64_vs_torch`` of the time that 64 take, ``X_call_64_vs_torch`` of the bare calls.

What is found is told on stderr as it is found, and with ``--report`` written to ``DIR/ground-N.json`` after each way,
so that a run that is cut short keeps it.  With ``--seconds`` no way is begun later than that, and what is being made
is left off; asking may take a minute more.  10,000,000 rows want 80 GB of memory, 100 GB on the GPU and no disk.
"""

from __future__ import annotations

from pathlib import Path

from bench import gpu_torch
from bench.gpu_case import AT_ONCE, LIMIT, Case, timed_s
from bench.gpu_rows import filled
from bench.gpu_ways import OnGpu
from bench.report import Result, Setup, result
from bench.workloads.tiers import Rows, made
from memdb.index import flat
from memdb.index.gpu_faiss import FaissOnGpu, find_gpu
from memdb.index.gpu_flat import PLACE_ROWS_MIN
from memdb.index.gpu_indexes import GpuIndexes
from memdb.index.indexed import RECENT_MIN, Approximation
from memdb.index.tiers import QUESTIONS_MIN, Tiers

LISTS_ROWS_MAX = 2_000_000
QUICK_ROWS = 3000
_TRUTHS = 32


def run(setup: Setup) -> Result:
    """Measure.  Raises `FailedPrecondition` (``NO_GPU``) where the device is ``gpu`` and there is none."""
    device = setup.device or "auto"
    indexes = None if find_gpu(device) is None else FaissOnGpu()
    rows, asked = (
        setup.rows or (QUICK_ROWS if setup.quick else 1_000_000),
        64 if setup.quick else 256,
    )
    if setup.quick and indexes is not None:
        rows = max(rows, PLACE_ROWS_MIN)

    def found(case: Case) -> Result:
        config: dict[str, object] = {"device": device, "rows": rows, "left": dict(case.left)}
        return result("ground", setup, config, case.figures, ratios_of(case.figures))

    def told(case: Case) -> None:
        if setup.report is not None:
            _write(setup.report / f"ground-{rows}.json", found(case))

    case = Case(setup.seconds, told)
    measure(case, rows, asked, setup.seed, indexes)
    return found(case)


def ratios_of(figures: dict[str, float]) -> dict[str, float]:
    """Of the ways that were taken."""
    ratios: dict[str, float] = {}
    for way in ("gpu", "gpu_ivf", "gpu_cagra"):
        if f"{way}_p50_ms" not in figures:
            continue
        for other in ("cpu", "cpu_heads", "cpu_lists", "torch"):
            if f"{other}_p50_ms" in figures:
                ratios[f"{way}_vs_{other}"] = figures[f"{way}_p50_ms"] / figures[f"{other}_p50_ms"]
        if "torch_64_p50_ms" in figures:
            of_64 = 1e3 * AT_ONCE / figures[f"{way}_64_questions_per_s"]
            ratios[f"{way}_64_vs_torch"] = of_64 / figures["torch_64_p50_ms"]
            bare = figures.get(f"{way}_call_{AT_ONCE}_ms")
            if bare is not None:
                ratios[f"{way}_call_64_vs_torch"] = bare / figures["torch_64_p50_ms"]
    return ratios


def measure(
    case: Case,
    count: int,
    asked: int,
    seed: int,
    indexes: GpuIndexes | None,
    torch_device: str | None = "cuda",
) -> None:
    """Figures by way; those of a GPU where there are ``indexes``.  torch_device: None for a run without torch."""
    case.say(f"{count} rows are made")
    case.questions = made("views", seed, asked, stream=1)
    case.matrix, case.truth = filled(count, seed, case.questions[:_TRUTHS], LIMIT, case.stop)
    if case.matrix.rows < count:
        case.left["all"] = f"no time for more than {case.matrix.rows} rows"
        case.say(case.left["all"])
        return
    on_cpu = _OnCpu(case)
    # What is wanted most comes first.
    if indexes is not None:
        gpu = OnGpu(case, indexes)
        case.take("gpu", gpu.take_flat)
        if torch_device is not None:
            case.take("torch", lambda: gpu_torch.take(case, torch_device))
        case.take("gpu_ivf", lambda: gpu.take_near("ivf"))
    case.take("cpu_heads", on_cpu.take_heads)
    if indexes is not None:
        case.take("gpu_cagra", lambda: gpu.take_near("cagra"))
        gpu.end()
    case.take("cpu", on_cpu.take_codes)
    case.take("cpu_lists", on_cpu.take_lists)


class _OnCpu:
    """The ways of the CPU, by tiers of one matrix."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._tiers = Tiers(case.matrix)

    def take_heads(self) -> None:
        matrix = self._case.matrix

        def ask(question: Rows) -> set[int]:
            return set(flat.search(matrix, matrix.rows, question, LIMIT, None)[0].tolist())

        self._case.ask("cpu_heads", ask)

    def take_codes(self) -> str | None:
        case, tiers = self._case, self._tiers
        rows = case.matrix.rows
        tiers.is_quick(rows, None, QUESTIONS_MIN)
        case.figures["cpu_prepare_s"] = timed_s(lambda: tiers.maintain(case.stop))
        if 0 < tiers.coded_rows < rows:
            return "no time for codes of all rows"
        case.ask("cpu", self._search)
        return None

    def take_lists(self) -> str | None:
        case, tiers = self._case, self._tiers
        rows = case.matrix.rows
        if rows > LISTS_ROWS_MAX:
            return "of so many rows it takes too long"

        def prepare() -> None:
            tiers.maintain(case.stop, None, Approximation(rows))
            for question in case.questions[: 4 * RECENT_MIN]:
                tiers.approximate(rows, question, LIMIT, None, None)
            tiers.maintain(case.stop, None, Approximation(rows))

        case.figures["cpu_lists_prepare_s"] = timed_s(prepare)
        if tiers.indexed.breadth is None:
            return "no time" if case.is_over else "they find too little"

        def ask(question: Rows) -> set[int]:
            found = tiers.approximate(rows, question, LIMIT, None, None)
            return self._search(question) if found is None else set(found.numbers.tolist())

        case.ask("cpu_lists", ask)
        return None

    def _search(self, question: Rows) -> set[int]:
        rows = self._case.matrix.rows
        return set(self._tiers.search(rows, question, LIMIT, None)[0].tolist())


def _write(path: Path, found: Result) -> None:
    """Whole, or as it was before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(found.as_json() + "\n", "utf-8")
    new.replace(path)
