"""A search with rows on a GPU gives what a search without gives, and goes on without when it fails.

The same body runs over a real GPU (marked ``gpu``) and over FAISS's own float16 rows on the CPU, which
have the same interface.
"""

from __future__ import annotations

import gc
import logging
import os
import threading
from collections.abc import Callable
from typing import Any

import faiss
import numpy as np
import pytest

from memdb.errors import FailedPrecondition
from memdb.index import flat, gpu_faiss, gpu_placed
from memdb.index.gpu import Gpu
from memdb.index.gpu_faiss import FaissOnGpu, find_gpu
from memdb.index.gpu_flat import PLACE_ROWS_MIN, FlatPlacement
from memdb.index.gpu_placed import PLACE_ROWS
from memdb.index.gpu_turns import Turns
from memdb.index.matrix import Matrix
from memdb.index.tiers import QUESTIONS_MIN, Tiers
from memdb.types.arrays import Array
from tests.unit.engine.test_interrupted import entering
from tests.unit.index.gpu_twin import GPUS, Twin, flat_twin
from tests.unit.index.test_flat import matrix_of
from tests.unit.index.test_sketch import made

DIM = 32
ROWS = PLACE_ROWS_MIN + 2 * PLACE_ROWS + 100
Make = Callable[[int], Any]


def on_gpu(width: int) -> Any:
    return FaissOnGpu().flat(width)


@pytest.fixture(
    params=[flat_twin, pytest.param(on_gpu, marks=pytest.mark.gpu)], ids=["twin", "gpu"]
)
def make(request: pytest.FixtureRequest) -> Make:
    if request.param is on_gpu and not GPUS:
        pytest.skip("no GPU here")
    maker: Make = request.param
    return maker


class Watched:
    """An index that tells its calls, waits when told to, and fails when told to."""

    def __init__(self, index: Any) -> None:
        self.index = index
        self.calls: list[int] = []
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self.fails = False

    @property
    def ntotal(self) -> int:
        return int(self.index.ntotal)

    def add(self, rows: Array) -> None:
        if self.fails:
            raise RuntimeError("CUDA error 2: out of memory")
        self.index.add(rows)

    def search(self, queries: Array, wanted: int) -> tuple[Array, Array]:
        self.calls.append(len(queries))
        self.begun.set()
        assert self.go_on.wait(20)
        if self.fails:
            raise RuntimeError("CUDA error 700: an illegal memory access")
        scores, numbers = self.index.search(queries, wanted)
        return scores, numbers


@pytest.fixture(scope="module")
def rows() -> Array:
    return made("scenes", ROWS, DIM, seed=1)


def placed(gpu: Gpu, matrix: Matrix) -> FlatPlacement:
    placement = gpu.keep(matrix, None)
    assert placement is not None
    return placement


def same(found: tuple[Array, Array], expected: tuple[Array, Array]) -> bool:
    return bool((found[0] == expected[0]).all()) and found[1].tobytes() == expected[1].tobytes()


@pytest.mark.parametrize("share", [None, 0.95, 0.01, 0.0])
@pytest.mark.parametrize("seen", [ROWS, PLACE_ROWS_MIN + PLACE_ROWS + 7, 100])
def test_answers_are_those_of_the_cpu(
    make: Make, rows: Array, share: float | None, seen: int
) -> None:
    matrix = matrix_of(rows)
    placement = placed(Gpu(Twin(make), 1 << 30), matrix)
    assert placement.rows == ROWS // PLACE_ROWS * PLACE_ROWS
    allowed = None if share is None else np.random.default_rng(2).random(seen) < share
    told = 0
    for query in made("scenes", 8, DIM, seed=3):
        for limit in (1, 10):
            found = placement.search(matrix, seen, query, limit, allowed)
            if found is not None:
                told += 1
                expected = flat.search(matrix, seen, query, limit, allowed)
                assert same((found.numbers, found.scores), expected)
    assert bool(told) == (share in (None, 0.95) and seen >= PLACE_ROWS_MIN)


def test_rows_that_are_equal_come_in_the_order_of_the_cpu(make: Make) -> None:
    matrix = matrix_of(np.repeat(made("scenes", ROWS // 4, DIM, seed=1), 4, axis=0))
    placement = placed(Gpu(Twin(make), 1 << 30), matrix)
    for query in made("scenes", 8, DIM, seed=3):
        found = placement.search(matrix, matrix.rows, query, 10, None)
        if found is not None:
            expected = flat.search(matrix, matrix.rows, query, 10, None)
            assert same((found.numbers, found.scores), expected)


def test_who_asks_while_one_is_searched_for_goes_in_the_next_call(make: Make, rows: Array) -> None:
    watched = Watched(make(DIM))
    matrix = matrix_of(rows)
    gpu = Gpu(Twin(lambda _: watched), 1 << 30)
    placement = placed(gpu, matrix)
    queries = made("scenes", 6, DIM, seed=3)
    answers: dict[int, Any] = {}

    def ask(number: int) -> None:
        answers[number] = placement.search(matrix, ROWS, queries[number], 4 + number, None)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    watched.go_on.clear()
    threads[0].start()
    assert watched.begun.wait(20)
    for thread in threads[1:]:
        thread.start()
    while gpu._turns.waiting < 5:
        threading.Event().wait(0.001)
    watched.go_on.set()
    for thread in threads:
        thread.join()
    assert watched.calls == [1, 5]
    for number, found in answers.items():
        expected = flat.search(matrix, ROWS, queries[number], 4 + number, None)
        assert same((found.numbers, found.scores), expected)


def test_a_gpu_that_fails_fails_no_question(
    make: Make, rows: Array, caplog: pytest.LogCaptureFixture
) -> None:
    watched = Watched(make(DIM))
    gpu = Gpu(Twin(lambda _: watched), 1 << 30)
    matrix = matrix_of(rows)
    index = Tiers(matrix)
    index.maintain(lambda: False, gpu)
    query = made("scenes", 1, DIM, seed=3)[0]
    expected = flat.search(matrix, ROWS, query, 4, None)
    # These rows are few bytes: asked as if they were many.
    index._rows_min = 1
    assert same(index.search(ROWS, query, 4, None), expected)
    assert watched.calls == [1]
    watched.fails = True
    with caplog.at_level(logging.ERROR, "memdb.index"):
        assert same(index.search(ROWS, query, 4, None), expected)
    assert "illegal memory access" in caplog.text
    assert gpu.is_lost
    assert gpu.bytes_used == 0
    index.maintain(lambda: False, gpu)
    for _ in range(QUESTIONS_MIN):
        assert same(index.search(ROWS, query, 4, None), expected)
    assert watched.calls == [1, 1], "it is not asked again"


def test_any_error_of_a_call_is_told_to_all_that_waited_for_it(rows: Array) -> None:
    watched = Watched(flat_twin(DIM))
    matrix = matrix_of(rows)
    gpu = Gpu(Twin(lambda _: watched), 1 << 30)
    placement = placed(gpu, matrix)
    watched.search = lambda queries, wanted: (_ for _ in ()).throw(MemoryError("no room"))  # type: ignore[method-assign]
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no room"):
            placement.search(matrix, ROWS, rows[0], 4, None)
    assert not gpu._turns.waiting


def test_a_gpu_that_fails_while_rows_are_placed_keeps_none(rows: Array) -> None:
    """Somebody else's search fails after it was asked whether it still works."""

    def fails(width: int) -> Any:
        gpu.lose(RuntimeError("CUDA error 700: an illegal memory access"))
        return flat_twin(width)

    gpu = Gpu(Twin(fails), 1 << 30)
    assert gpu.keep(matrix_of(rows), None) is None
    assert gpu.bytes_used == 0


def test_what_is_placed_is_counted_while_more_is_placed(
    rows: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu, matrix, later = Gpu(Twin(), 1 << 30), matrix_of(rows), matrix_of(rows)
    first = placed(gpu, matrix)
    size, kept = first.bytes, []

    def meanwhile(_: FlatPlacement) -> int:
        monkeypatch.undo()
        kept.append(placed(gpu, later))
        return size

    monkeypatch.setattr(FlatPlacement, "bytes", property(meanwhile))
    assert gpu.bytes_used == size
    assert gpu.bytes_used == 2 * size


@pytest.mark.parametrize(
    "function", [Turns.__enter__, Turns.__exit__, Turns.ask, FlatPlacement.answer]
)
def test_an_interrupt_takes_the_gpu_from_nobody(rows: Array, function: Any) -> None:
    """Ctrl-C of who asks, wherever it comes."""
    matrix = matrix_of(rows)
    gpu = Gpu(Twin(), 1 << 30)
    placement = placed(gpu, matrix)
    interrupt = entering(function)
    with interrupt.within():
        placement.search(matrix, ROWS, rows[0], 4, None)
    assert interrupt.came
    assert not gpu._turns.lock.locked()
    assert placement.search(matrix, ROWS, rows[0], 4, None) is not None


def test_a_forked_process_leaves_the_gpu_alone() -> None:
    """There is no CUDA in it: FAISS would end it as it gave memory back."""
    index = gpu_faiss._of_this_process(faiss.IndexFlatIP(DIM))
    pid = os.fork()
    if not pid:
        os._exit(1 if index.thisown else 0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert index.thisown


def test_a_gpu_without_room_leaves_the_rows_where_they_are(
    rows: Array, caplog: pytest.LogCaptureFixture
) -> None:
    watched = Watched(flat_twin(DIM))
    watched.fails = True
    gpu = Gpu(Twin(lambda _: watched), 1 << 30)
    with caplog.at_level(logging.ERROR, "memdb.index"):
        assert gpu.keep(matrix_of(rows), None) is None
    assert "out of memory" in caplog.text
    assert gpu.is_lost


def test_the_largest_that_fit_have_the_room(rows: Array) -> None:
    small, middle, large = (
        matrix_of(rows[:count]) for count in (PLACE_ROWS_MIN, PLACE_ROWS_MIN + PLACE_ROWS, ROWS)
    )
    gpu = Gpu(Twin(), 2 * DIM * (PLACE_ROWS_MIN + PLACE_ROWS + ROWS))
    first, second = placed(gpu, small), placed(gpu, large)
    assert gpu.bytes_used == first.bytes + second.bytes
    third = placed(gpu, middle)
    assert (first.rows, third.rows) == (0, PLACE_ROWS_MIN + PLACE_ROWS)
    assert first.search(small, small.rows, rows[0], 4, None) is None, "it was dropped"
    assert gpu.keep(small, first) is None, "there is no room for it beside larger ones"
    assert gpu.keep(matrix_of(np.tile(rows, (4, 1))), None) is None, "it would not fit alone"
    assert gpu.bytes_used == second.bytes + third.bytes
    del third
    gc.collect()
    assert gpu.bytes_used == second.bytes, "the memory goes with the user"


def test_without_a_budget_four_fifths_of_what_is_free_at_the_first_placement(rows: Array) -> None:
    asked: list[int] = []

    def free_bytes() -> int:
        asked.append(1)
        return 11 * 2 * DIM * PLACE_ROWS_MIN

    gpu = Gpu(Twin(free=free_bytes), 0)
    assert not asked, "who places nothing takes nothing"
    matrix = matrix_of(rows[:PLACE_ROWS_MIN])
    kept = [gpu.keep(matrix, None) for _ in range(11)]
    assert [placement is not None for placement in kept] == [True] * 8 + [False] * 3
    assert asked == [1]


@pytest.mark.parametrize(("free", "fits"), [(2.2, False), (2.6, True)])
@pytest.mark.parametrize("bytes_max", [0, 1 << 40])
def test_what_grows_is_there_twice(rows: Array, free: float, fits: bool, bytes_max: int) -> None:
    """FAISS copies an index that gets more rows: a budget of all there is would lose the GPU."""
    large = rows[: ROWS // PLACE_ROWS * PLACE_ROWS]
    gpu = Gpu(Twin(free=lambda: int(free * 2 * large.size)), bytes_max)
    first = placed(gpu, matrix_of(large))
    # Two thirds of the first, which fits beside it.
    assert (gpu.keep(matrix_of(rows[:PLACE_ROWS_MIN]), None) is not None) == fits
    assert first.rows
    assert gpu.keep(matrix_of(np.tile(rows, (2, 1))), None) is None


def test_rows_that_float16_does_not_hold_stay_on_the_cpu(rows: Array) -> None:
    gpu = Gpu(Twin(), 1 << 30)
    matrix = matrix_of(rows * np.float32(1e6))
    assert gpu.keep(matrix, None) is None
    assert not gpu.is_lost


@pytest.mark.parametrize("size", [1e-25, 1e-6, 1.0, 3e4])
def test_what_float16_takes_is_not_less_than_it_is_believed(rows: Array, size: float) -> None:
    its = rows[:4096] * np.float32(size)
    placement = placed(Gpu(Twin(), 1 << 30), matrix_of(rows))
    wide = its.astype(np.float16).astype(np.float64) - its
    least = float(np.linalg.norm(wide, axis=1).max())
    assert least <= placement._lost(its) <= 1.0001 * least


def test_rows_that_come_later_follow(rows: Array) -> None:
    gpu = Gpu(Twin(), 1 << 30)
    matrix = matrix_of(rows[: PLACE_ROWS_MIN + 50])
    placement = placed(gpu, matrix)
    assert placement.rows == PLACE_ROWS_MIN
    matrix.append(rows[PLACE_ROWS_MIN + 50 :])
    assert gpu.keep(matrix, placement) is placement
    assert placement.rows == ROWS // PLACE_ROWS * PLACE_ROWS


def test_whoever_closes_waits_for_a_call_at_most(
    rows: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To place the rows of the largest takes a minute, and a server that is stopped has fifteen seconds."""
    monkeypatch.setattr(gpu_placed, "block_of", lambda *_: PLACE_ROWS)
    gpu, matrix = Gpu(Twin(), 1 << 30), matrix_of(rows)
    steps = iter([False, False, True])
    placement = gpu.keep(matrix, None, stop=lambda: next(steps))
    assert placement is not None
    assert placement.rows == 2 * PLACE_ROWS
    index = Tiers(matrix)
    index._placement = placement
    index._rows_min = 1
    found = index.search(ROWS, rows[0], 4, None)
    assert same(found, flat.search(matrix, ROWS, rows[0], 4, None))
    assert gpu.keep(matrix, placement) is placement
    assert placement.rows == ROWS // PLACE_ROWS * PLACE_ROWS


class Ending:
    """An index that tells whether anybody else was in a call as it was made, and as it went."""

    def __init__(self, width: int, gpu: list[Gpu], alone: list[bool]) -> None:
        self.index = flat_twin(width)
        self._gpu = gpu
        self._alone = alone
        self._note()

    def _note(self) -> None:
        # Whose turn it is holds the lock: nobody else can have it.
        self._alone.append(self._gpu[0]._turns.lock.locked())

    @property
    def ntotal(self) -> int:
        return int(self.index.ntotal)

    def add(self, rows: Array) -> None:
        self.index.add(rows)

    def search(self, queries: Array, wanted: int) -> tuple[Array, Array]:
        scores, numbers = self.index.search(queries, wanted)
        return scores, numbers

    def __del__(self) -> None:
        self._note()


def test_an_index_is_made_and_goes_when_no_other_call_is_under_way(rows: Array) -> None:
    """As of a user who is closed or erased while somebody else asks."""
    alone: list[bool] = []
    gpus: list[Gpu] = []
    gpus.append(Gpu(Twin(lambda width: Ending(width, gpus, alone)), 1 << 30))
    (gpu,) = gpus
    matrix, other = matrix_of(rows), matrix_of(rows)
    kept, dropped = placed(gpu, matrix), placed(gpu, other)
    assert alone == [True, True]

    with gpu._turns.lock, gpu._turns:
        del dropped
        gc.collect()
        assert alone == [True, True]  # not in the middle of this one
    assert alone == [True, True, True]

    assert kept.search(matrix, matrix.rows, rows[0], 1, None) is not None
    del kept
    gc.collect()
    assert alone == [True] * 4
    assert gpu.bytes_used == 0


class _Library:
    """FAISS, as far as it is asked for GPUs."""

    def __init__(self, count: int | RuntimeError) -> None:
        self._count = count
        self.asked = 0

    StandardGpuResources = object

    def get_num_gpus(self) -> int:
        self.asked += 1
        if isinstance(self._count, RuntimeError):
            raise self._count
        return self._count


@pytest.mark.parametrize(
    ("count", "why"),
    [
        (None, "built without GPUs.*memdb\\[gpu\\]"),
        (0, "sees no GPU"),
        (RuntimeError("Error in getNumDevices:\ndriver too old"), "GPU: driver too old"),
    ],
    ids=["built without", "none", "driver"],
)
@pytest.mark.parametrize("may_be_there", [True, False])
def test_who_asks_for_a_gpu_is_told_why_there_is_none(
    monkeypatch: pytest.MonkeyPatch, count: int | RuntimeError | None, why: str, may_be_there: bool
) -> None:
    library = object() if count is None else _Library(count)
    monkeypatch.setattr(gpu_faiss, "faiss", library)
    monkeypatch.setattr(gpu_faiss, "_may_be_there", lambda: may_be_there)
    with pytest.raises(FailedPrecondition, match=why) as caught:
        find_gpu("gpu")
    assert (caught.value.reason, caught.value.field) == ("NO_GPU", "index.device")
    assert find_gpu("auto") is None
    if isinstance(library, _Library):
        # Where there is nothing that it could be, the library need not be loaded for it.
        assert library.asked == (2 if may_be_there else 1)


def test_without_a_gpu_there_is_none() -> None:
    assert find_gpu("cpu") is None
    if GPUS:
        pytest.skip("there is one here")
    assert find_gpu("auto") is None
    with pytest.raises(FailedPrecondition) as caught:
        find_gpu("gpu")
    assert (caught.value.reason, caught.value.value) == ("NO_GPU", "gpu")


def test_a_graph_that_faiss_does_not_have_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_faiss, "faiss", _Library(1))
    with pytest.raises(FailedPrecondition, match="cuVS") as caught:
        find_gpu("gpu", 0, "cagra")
    assert (caught.value.reason, caught.value.field) == ("NO_GPU", "index.gpu_index")
    assert isinstance(find_gpu("gpu", 0, "auto"), Gpu)


class _Runtime:
    """CUDA's, as far as it is asked for memory."""

    def __init__(self, free: int) -> None:
        self._free = free

    def cudaMemGetInfo(self, free: Any, total: Any) -> int:
        free._obj.value = max(self._free, 0)
        return 0 if self._free >= 0 else 35


def test_how_much_is_free_says_cuda(monkeypatch: pytest.MonkeyPatch, rows: Array) -> None:
    """FAISS 1.15 has no function for it."""
    indexes = FaissOnGpu()
    monkeypatch.setattr(gpu_faiss, "_cuda_runtime", lambda: _Runtime(1 << 30))
    assert indexes.free_bytes() == 1 << 30
    monkeypatch.setattr(gpu_faiss, "_cuda_runtime", lambda: _Runtime(-1))
    with pytest.raises(RuntimeError, match="error 35"):
        indexes.free_bytes()
    monkeypatch.setattr(gpu_faiss, "_cuda_runtime", lambda: None)
    with pytest.raises(RuntimeError, match="gpu_bytes_max"):
        indexes.free_bytes()
    gpu = Gpu(Twin(free=indexes.free_bytes), 0)
    assert gpu.keep(matrix_of(rows), None) is None
    assert gpu.is_lost, "the rows stay where they are"
    gpu = Gpu(Twin(free=indexes.free_bytes), 1 << 30)
    assert gpu.keep(matrix_of(rows), None) is not None, "who gave a budget knows it"


@pytest.mark.skipif(
    not hasattr(faiss, "StandardGpuResources"), reason="FAISS was built without GPUs"
)
def test_faiss_knows_what_it_is_asked_for() -> None:
    """Where FAISS is built for GPUs, be there one or not: without one it fails at that, and at nothing before."""
    indexes = FaissOnGpu()
    makers: list[Callable[[], Any]] = [
        lambda: indexes.flat(DIM),
        lambda: indexes.lists(DIM, 16),
        indexes.free_bytes,
    ]
    if indexes.has_graphs:
        makers.append(lambda: indexes.graph(DIM))
        assert indexes.reaching(64).itopk_size == 64
    assert indexes.probing(7).nprobe == 7
    for make in makers:
        if GPUS:
            assert make() is not None
        else:
            with pytest.raises(RuntimeError, match=r"Invalid GPU device|error \d+"):
                make()
