"""When a matrix is searched approximately: once it was measured, as long as it finds enough.

By lists on the CPU, and by lists and graphs as on a GPU (`tests.unit.index.gpu_twin`) in the same tests.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import faiss
import numpy as np
import pytest

from memdb.index import flat, gpu_flat, gpu_near, gpu_placed, indexed, ivf, lists, tiers
from memdb.index import gpu as gpu_module
from memdb.index.breadth import found_of
from memdb.index.columns import ALIVE
from memdb.index.gpu import Gpu
from memdb.index.indexed import LATER_MIN, RECENT_MIN, SAMPLE_EVERY, Approximation
from memdb.index.ivf import Breadth, lists_max
from memdb.index.matrix import Matrix
from memdb.index.partition import ClipRows, Filter, Partition
from memdb.index.recall import RECALL_MIN, Recall, Window
from memdb.index.tiers import Tiers
from memdb.types.arrays import Array
from tests.unit.index.gpu_twin import NEAR, gpu_of
from tests.unit.index.test_flat import matrix_of

DIM = 256
ROWS = 3000
LIMIT = 10


def never() -> bool:
    return False


def structured(count: int, seed: int) -> Array:
    """(count, DIM) rows of unit length that differ in a few ways."""
    shared = np.random.default_rng(7)
    scenes = shared.standard_normal((30, DIM)).astype(np.float32)
    ways = shared.standard_normal((20, DIM)).astype(np.float32) * np.float32(0.1)
    rng = np.random.default_rng(seed)
    rows = scenes[rng.integers(len(scenes), size=count)]
    rows = rows + rng.standard_normal((count, len(ways))).astype(np.float32) @ ways
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def noise(count: int, seed: int) -> Array:
    rows = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ivf, "ALLOWED_MIN", 100)
    monkeypatch.setattr(gpu_module, "PLACE_ROWS_MIN", 100)
    monkeypatch.setattr(gpu_flat, "PLACE_ROWS_MIN", 100)
    monkeypatch.setattr(gpu_placed, "PLACE_ROWS", 64)
    monkeypatch.setattr(gpu_near, "NEAR_PLACE_ROWS", 64)
    monkeypatch.setattr(gpu_near, "LATE_MAX", 256)


@pytest.fixture
def approximation() -> Approximation:
    return Approximation(2500)


@pytest.fixture(params=["cpu", *NEAR])
def gpu(request: pytest.FixtureRequest) -> Gpu | None:
    """None: all is on the CPU."""
    return None if request.param == "cpu" else gpu_of(request.param)


def trained(
    rows: Array,
    approximation: Approximation,
    questions: Callable[[int, int], Array] = structured,
    gpu: Gpu | None = None,
) -> tuple[Matrix, Tiers]:
    matrix = matrix_of(rows)
    index = Tiers(matrix, bytes_min=0)
    index.is_quick(matrix.rows, None, tiers.QUESTIONS_MIN)
    index.maintain(never, gpu, approximation)
    for question in questions(2 * RECENT_MIN, 90):
        assert index.approximate(matrix.rows, question, LIMIT, None, None) is None
    assert index.is_due
    index.maintain(never, gpu, approximation)
    return matrix, index


def indexed_rows(index: Tiers, gpu: Gpu | None) -> int:
    """Rows that need not all be looked at."""
    if gpu is None:
        return index.indexed.rows
    assert not index.indexed.rows
    near = index.indexed.on_gpu.near
    return 0 if near is None else near.rows


def recall(matrix: Matrix, index: Tiers, rows: int, allowed: Array | None = None) -> float:
    """Of approximate answers, each of which is whole and has exact scores."""
    hits = sought = 0
    for question in structured(40, 91):
        found = index.approximate(rows, question, LIMIT, allowed, None)
        _, scores = flat.search(matrix, rows, question, LIMIT, allowed)
        if found is None:
            continue
        assert len(found.numbers) == LIMIT
        assert (found.numbers < rows).all()
        assert allowed is None or allowed[found.numbers].all()
        whole = flat.row_scores(matrix.take_padded(found.numbers), question)
        assert found.scores.tobytes() == whole.tobytes()
        assert (np.diff(found.scores) <= 0).all()
        hits += found_of(found.scores, scores)
        sought += LIMIT
    assert sought, "everything was left to an exact search"
    return hits / sought


def test_lists_come_with_questions_and_find_what_is_there(
    approximation: Approximation, gpu: Gpu | None
) -> None:
    matrix, index = trained(structured(ROWS, 1), approximation, gpu=gpu)
    assert indexed_rows(index, gpu) == ROWS
    assert not index.is_due
    assert recall(matrix, index, ROWS) >= RECALL_MIN
    half = np.random.default_rng(1).random(ROWS) < 0.5
    assert recall(matrix, index, ROWS, half) >= RECALL_MIN
    assert approximation.recall.counts.approximate > 0


def test_few_rows_none_wanted_and_many_hits_stay_exact(approximation: Approximation) -> None:
    question = structured(1, 3)[0]
    _, few = trained(structured(ROWS, 1), approximation)
    assert few.approximate(2400, question, LIMIT, None, None) is None
    assert few.approximate(ROWS, question, ivf.LIMIT_MAX + 1, None, None) is None
    assert few.approximate(ROWS, question, LIMIT, np.arange(ROWS) < 99, None) is None
    matrix = matrix_of(structured(ROWS, 1))
    index = Tiers(matrix, bytes_min=0)
    index.is_quick(ROWS, None, tiers.QUESTIONS_MIN)
    for _ in range(3):
        index.maintain(never, None, Approximation(0))
        for one in structured(2 * RECENT_MIN, 90):
            assert index.approximate(ROWS, one, LIMIT, None, None) is None


def test_what_has_no_structure_stays_exact(approximation: Approximation) -> None:
    _, index = trained(noise(ROWS, 1), approximation, noise)
    assert index.indexed.breadth is None
    assert not index.is_due, "until it has doubled"


def test_questions_from_elsewhere_count_by_themselves(approximation: Approximation) -> None:
    """Rows find each other in a few lists; what is asked lies elsewhere and needs more."""
    _, near = trained(structured(ROWS, 1), approximation)
    _, far = trained(structured(ROWS, 1), approximation, noise)
    assert near.indexed.breadth is not None
    assert far.indexed.breadth is None or far.indexed.breadth.lists > 2 * near.indexed.breadth.lists


def test_rows_that_come_later_are_found_and_join_the_lists(
    approximation: Approximation, gpu: Gpu | None
) -> None:
    matrix, index = trained(structured(ROWS, 1), approximation, gpu=gpu)
    before = indexed_rows(index, gpu)
    for seed in range(6):
        matrix.append(structured(LATER_MIN // 4, 10 + seed))
        assert recall(matrix, index, matrix.rows) >= RECALL_MIN
        (last,) = structured(1, 200 + seed)
        matrix.append(last[np.newaxis])
        found = index.approximate(matrix.rows, last, 1, None, None)
        assert found is not None
        assert found.numbers.tolist() == [matrix.rows - 1]
        if index.is_due:
            index.maintain(never, gpu, approximation)
    assert indexed_rows(index, gpu) >= before + LATER_MIN
    # An older view does not see them.
    assert recall(matrix, index, ROWS) >= RECALL_MIN


def test_while_codes_lag_behind_all_is_exact(approximation: Approximation, gpu: Gpu | None) -> None:
    matrix, index = trained(structured(ROWS, 1), approximation, gpu=gpu)
    matrix.append(structured(2500, 5))
    (question,) = structured(1, 3)
    assert index.approximate(matrix.rows, question, LIMIT, None, None) is None
    index.is_quick(matrix.rows, None, tiers.QUESTIONS_MIN)
    index.maintain(never, gpu, approximation)
    assert index.approximate(matrix.rows, question, LIMIT, None, None) is not None


def test_a_filter_that_is_far_from_the_question_is_searched_exactly(
    approximation: Approximation, gpu: Gpu | None
) -> None:
    rows = structured(ROWS, 1)
    matrix, index = trained(rows, approximation, gpu=gpu)
    question = structured(1, 3)[0]
    # All that is unlike the question.
    allowed = matrix.take(np.arange(ROWS)) @ question < 0.1
    assert np.count_nonzero(allowed) > ROWS // 4
    found = index.approximate(ROWS, question, LIMIT, allowed, None)
    if found is not None:
        assert (
            found.numbers.tolist()
            == flat.search(matrix, ROWS, question, LIMIT, allowed)[0].tolist()
        )


def test_dead_rows_are_not_found_and_do_not_widen_the_search(
    approximation: Approximation, gpu: Gpu | None
) -> None:
    _, index = trained(structured(ROWS, 1), approximation, gpu=gpu)
    alive = np.random.default_rng(2).random(ROWS) < 0.3
    for question in structured(20, 91):
        found = index.approximate(ROWS, question, LIMIT, alive, alive)
        assert found is not None, "rows that are dead are no filter"
        assert alive[found.numbers].all()


def test_rows_that_died_near_the_question_are_no_filter_of_a_view(
    approximation: Approximation, gpu: Gpu | None
) -> None:
    """As where one camera's clips grow: their versions of before lie around what is asked for."""
    rows = structured(ROWS, 1)
    matrix, index = trained(rows, approximation, gpu=gpu)
    numbers, none = np.arange(ROWS, dtype=np.uint64), np.zeros(ROWS, np.uint32)
    partition = Partition(DIM, "dot")
    partition.extend(
        ClipRows(
            clip_no=numbers,
            stream_no=none,
            epoch=none,
            seq=numbers,
            start_ns=numbers.astype(np.int64),
            end_ns=numbers.astype(np.int64) + 1,
            sealed=np.ones(ROWS, np.bool_),
            birth=np.ones(ROWS, np.uint64),
            death=np.full(ROWS, ALIVE),
            short_memory_bytes=none,
            keyframe_bytes=none,
            vectors=rows,
        )
    )
    for question in structured(20, 91):
        alive = np.ones(ROWS, np.bool_)
        alive[np.argsort(-(rows @ question))[: ROWS // 10]] = np.arange(ROWS // 10) % 5 == 0
        view = replace(partition.view(), matrix=matrix, tiers=index, head_alive=alive)
        near = view.near(question, LIMIT, view.allowed(Filter(), None))
        assert near is not None
        assert alive[near[0]].all()


def test_twice_the_rows_are_measured_anew(approximation: Approximation, gpu: Gpu | None) -> None:
    matrix, index = trained(structured(ROWS, 1), approximation, gpu=gpu)
    matrix.append(structured(ROWS + 500, 4))
    index.is_quick(matrix.rows, None, tiers.QUESTIONS_MIN)
    index.maintain(never, gpu, approximation)
    assert indexed_rows(index, gpu) > 2 * ROWS
    assert recall(matrix, index, matrix.rows) >= RECALL_MIN


def test_a_training_that_is_stopped_changes_nothing(approximation: Approximation) -> None:
    for after in (0, 40, 80, 83):
        matrix = matrix_of(structured(ROWS, 1))
        index = Tiers(matrix, bytes_min=0)
        index.is_quick(ROWS, None, tiers.QUESTIONS_MIN)
        index.maintain(never, None, approximation)
        for question in structured(2 * RECENT_MIN, 90):
            index.approximate(ROWS, question, LIMIT, None, None)
        asked = iter(range(after))
        index.maintain(lambda left=asked: next(left, None) is None, None, approximation)  # type: ignore[misc]
        assert index.indexed.breadth is None
        assert index.is_due, "it is tried again"


def test_whoever_closes_waits_for_a_round_of_the_training_at_most(
    approximation: Approximation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The training of a million rows takes half a minute, and a server that is stopped has fifteen seconds."""
    monkeypatch.setattr(lists, "_ROUNDS", 20_000)
    index = Tiers(matrix_of(structured(ROWS, 1)), bytes_min=0)
    index.is_quick(ROWS, None, tiers.QUESTIONS_MIN)
    index.maintain(never, None, approximation)
    for question in structured(2 * RECENT_MIN, 90):
        index.approximate(ROWS, question, LIMIT, None, None)
    real, rounds = faiss.Clustering.train, 0

    def counted(*arguments: object) -> None:
        nonlocal rounds
        rounds += 1
        real(*arguments)

    monkeypatch.setattr(faiss.Clustering, "train", counted)
    begin_s = time.process_time()
    index.maintain(lambda: rounds >= 3, None, approximation)
    assert time.process_time() - begin_s < 10
    assert rounds == 3
    assert index.indexed.breadth is None


def asked_often(index: Tiers, count: int, seed: int = 92) -> None:
    for question in structured(count, seed):
        index.approximate(ROWS, question, LIMIT, None, None)


def test_a_share_of_the_questions_is_compared(approximation: Approximation) -> None:
    _, index = trained(structured(ROWS, 1), approximation)
    asked_often(index, SAMPLE_EVERY + 1)
    assert index.is_due
    index.maintain(never, None, approximation)
    counts = approximation.recall.counts
    assert (counts.compared, counts.sought) == (1, LIMIT)
    assert counts.found == LIMIT
    assert not index.is_due
    # Comparisons keep to their share of time.
    assert not approximation.recall.may_compare


def test_what_finds_too_little_looks_at_more_and_is_given_up_in_the_end(
    approximation: Approximation, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, index = trained(structured(ROWS, 1), approximation)
    ready = index.indexed._ready
    assert ready is not None
    narrow = Breadth(1, 12, ready.breadth.by_distance)
    monkeypatch.setattr(indexed, "SAMPLE_EVERY", 1)
    monkeypatch.setattr(Recall, "may_compare", True)
    monkeypatch.setattr(ivf, "LISTS_SHARE_MAX", 0.05)
    # As if what is asked had moved away from what was measured.
    index.indexed._ready = indexed.Ready(ready.lists, narrow)
    for _ in range(60):
        for question in noise(8, 5):
            index.approximate(ROWS, question, LIMIT, None, None)
        index.maintain(never, None, approximation)
        if index.indexed.breadth is None:
            break
        assert index.indexed.breadth.lists <= lists_max(ready.lists)
    counts = approximation.recall.counts
    assert counts.widened >= 1
    assert counts.given_up == 1
    assert counts.recall is not None
    assert counts.recall < RECALL_MIN
    assert index.approximate(ROWS, structured(1, 3)[0], LIMIT, None, None) is None
    assert not index.is_due


@pytest.mark.parametrize(
    ("comparisons", "is_low"),
    [
        ([(10, 10)] * 500, False),
        ([(9, 10)] + [(10, 10)] * 20, False),
        ([(4, 10)] * 2, True),
        ([(9, 10)] * 20, True),
        ([(10, 10)] * 60 + [(9, 10)] * 5, False),
        ([(10, 10)] * 60 + [(5, 10)] * 2, True),
        ([(0, 10)] * 20 + [(10, 10)] * 500, False),
    ],
)
def test_when_too_little_is_found(comparisons: list[tuple[int, int]], is_low: bool) -> None:
    window = Window()
    for found, sought in comparisons:
        window.add(found, sought)
    assert window.is_low == is_low


def test_equal_scores_are_found_whichever_row_it_is() -> None:
    exact = np.array([0.9, 0.8, 0.8], np.float32)
    assert found_of(np.array([0.9, 0.8, 0.8], np.float32), exact) == 3
    assert found_of(np.array([0.9, 0.8, 0.7], np.float32), exact) == 2
    assert found_of(np.empty(0, np.float32), np.empty(0, np.float32)) == 0


@pytest.fixture
def running() -> Iterator[list[threading.Thread]]:
    threads: list[threading.Thread] = []
    yield threads
    for thread in threads:
        thread.join()


def test_readers_a_writer_and_the_upkeep_at_once(
    approximation: Approximation, gpu: Gpu | None, running: list[threading.Thread]
) -> None:
    matrix, index = trained(structured(ROWS, 1), approximation, gpu=gpu)
    wrong: list[BaseException] = []
    done = threading.Event()

    def read() -> None:
        try:
            while not done.is_set():
                assert recall(matrix, index, matrix.rows) >= RECALL_MIN
        except BaseException as error:  # told by the test
            wrong.append(error)

    running += [threading.Thread(target=read) for _ in range(2)]
    for thread in running:
        thread.start()
    for seed in range(16):
        matrix.append(structured(LATER_MIN // 2, 30 + seed))
        index.maintain(never, gpu, approximation)
    done.set()
    for thread in running:
        thread.join()
    assert not wrong, wrong[0]
    assert indexed_rows(index, gpu) > 2 * ROWS


def test_lists_hold_every_row_once(approximation: Approximation) -> None:
    matrix, index = trained(structured(ROWS, 1), approximation)
    ready = index.indexed._ready
    assert ready is not None
    held = ready.lists
    assert sorted(held.numbers.tolist()) == list(range(held.rows))
    assert held.offsets[0] == 0
    assert held.offsets[-1] == held.rows
    codes = np.concatenate([part for part, _ in held.sketch.parts(matrix, 0, held.rows)])
    assert (held.codes == codes[held.numbers]).all()
    assert lists.LISTS_MIN <= held.count == len(held.centres.places)
