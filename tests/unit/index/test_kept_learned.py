"""Directions, codes and lists go through a file and are the same; of rows that are gone nothing is in it."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from memdb.index import ivf, kept_learned, partition
from memdb.index.checkpoint import BadCheckpoint, KeptRows
from memdb.index.checkpoint_reader import read_checkpoint
from memdb.index.checkpoint_writer import CheckpointWriter, file_bytes, kept_places
from memdb.index.columns import ALIVE
from memdb.index.indexed import RECENT_MIN, Approximation
from memdb.index.kept_learned import CODES, DIRECTIONS, LISTS, BadBlock, LearnedReader
from memdb.index.learned import Learned
from memdb.index.partition import ClipRows, Partition, PartitionView
from memdb.index.tiers import QUESTIONS_MIN, Tiers
from memdb.types.arrays import Array
from tests.unit.index.test_indexed import DIM, LIMIT, ROWS, never, noise, structured

OWNER = b"o" * 16
REVISION = 9


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ivf, "ALLOWED_MIN", 100)
    monkeypatch.setattr(partition, "Tiers", lambda matrix: Tiers(matrix, bytes_min=0))


def clip_rows(vectors: Array, first: int = 0) -> ClipRows:
    count = len(vectors)
    numbers = np.arange(first, first + count)
    return ClipRows(
        clip_no=numbers.astype(np.uint64),
        stream_no=np.ones(count, np.uint32),
        epoch=np.zeros(count, np.uint32),
        seq=numbers.astype(np.uint64),
        start_ns=numbers,
        end_ns=numbers + 1,
        sealed=np.ones(count, bool),
        birth=np.full(count, 1, np.uint64),
        death=np.full(count, ALIVE, np.uint64),
        short_memory_bytes=np.zeros(count, np.uint32),
        keyframe_bytes=np.zeros(count, np.uint32),
        vectors=vectors,
        content=numbers.astype(np.uint64) + np.uint64(1),
    )


def filled(rows: Array) -> Partition:
    made = Partition(DIM, "cosine")
    made.extend(clip_rows(rows))
    return made


def trained(
    made: Partition, questions: Callable[[int, int], Array] = structured
) -> tuple[PartitionView, Learned]:
    view = made.view()
    approximation = Approximation(2100)
    view.tiers.is_quick(view.rows, None, QUESTIONS_MIN)
    view.tiers.maintain(never, None, approximation)
    for question in questions(2 * RECENT_MIN, 90):
        view.near(question, LIMIT, None)
    view.tiers.maintain(never, None, approximation)
    learned = view.tiers.learned
    assert learned is not None
    return view, learned


@pytest.fixture(scope="module")
def known() -> Iterator[tuple[PartitionView, Learned]]:
    """Made once: it takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partition, "Tiers", lambda matrix: Tiers(matrix, bytes_min=0))
        yield trained(filled(structured(ROWS, 1)))


def written(view: PartitionView) -> bytes:
    file = io.BytesIO()
    for _ in CheckpointWriter(file, OWNER, REVISION).write({3: view}):
        pass
    return file.getvalue()


def read(content: bytes, tmp_path: Path) -> KeptRows:
    file = tmp_path / "INDEX"
    file.write_bytes(content)
    return read_checkpoint(file, OWNER, REVISION)[3]


def opened(kept: KeptRows, later: Array | None = None) -> PartitionView:
    """A partition of the rows of a file, and of more that came since."""
    made = Partition(DIM, "cosine")
    first = 0
    for planes in kept.planes:
        count = len(planes.head)
        rows = clip_rows(np.empty((count, DIM), np.float32), first)
        made.extend(
            ClipRows(**{**{n: getattr(rows, n) for n in rows.__slots__}, "vectors": planes})
        )
        first += count
    if later is not None:
        made.extend(clip_rows(later, first))
    if kept.learned is not None:
        made.learn(kept.learned)
    view = made.view()
    view.tiers.indexed.approximate_by(Approximation(2100))
    return view


def answers(view: PartitionView) -> list[tuple[bytes, bytes]]:
    found = [view.near(question, LIMIT, view.head_alive) for question in structured(40, 91)]
    return [(one[0].tobytes(), one[1].tobytes()) for one in found if one is not None]


def test_lists_that_were_kept_answer_the_first_question_as_those_that_were_made(
    tmp_path: Path, known: tuple[PartitionView, Learned]
) -> None:
    view, learned = known
    content = written(view)
    assert len(content) <= file_bytes({3: view}) + 4096
    again = opened(read(content, tmp_path))
    assert answers(again) == answers(view)
    assert len(answers(again)) == 40, "none of them is left to an exact search"
    regained = again.tiers.learned
    assert regained is not None
    assert regained.lists is not None
    assert learned.lists is not None
    assert regained.lists.codes.tobytes() == learned.lists.codes.tobytes()
    assert regained.lists.numbers.tobytes() == learned.lists.numbers.tobytes()
    assert again.tiers.indexed.trained == view.tiers.indexed.trained
    assert not again.tiers.is_due, "there is nothing to be made"
    # What is written of it is the same file.
    assert written(again) == content


def test_rows_that_came_since_are_found_beside_the_lists(
    tmp_path: Path, known: tuple[PartitionView, Learned]
) -> None:
    view, _ = known
    later = structured(40, 5)
    again = opened(read(written(view), tmp_path), later)
    for number, row in enumerate(later):
        found = again.near(row, LIMIT, None)
        assert found is not None
        assert found[0][0] == ROWS + number
        exact = again.search(row, LIMIT, None)
        assert found[1].tobytes() == exact[1].tobytes()
    # And get codes as others do.
    again.tiers.is_quick(again.rows, None, QUESTIONS_MIN)
    again.tiers.maintain(never, None, Approximation(2100))
    assert again.tiers.coded_rows == again.rows
    assert again.near(later[3], LIMIT, None) is not None


def test_of_rows_that_are_gone_nothing_is_in_the_file(tmp_path: Path) -> None:
    made = filled(structured(ROWS, 1))
    _, learned = trained(made)
    gone = np.arange(0, ROWS, 5)
    made.remove(gone.astype(np.uint64))
    view = made.view()
    left = kept_places(view)
    assert len(left) == ROWS - len(gone)
    content = written(view)
    kept = read(content, tmp_path)
    assert kept.learned is not None
    assert kept.learned.lists is not None
    codes = np.concatenate([part for part, _ in learned.sketch.parts(view.matrix, 0, ROWS)])
    assert kept.learned.codes.tobytes() == codes[left].tobytes()
    others = {row.tobytes() for row in codes[left]}
    for row in codes[gone]:
        assert row.tobytes() in others or row.tobytes() not in content
    assert learned.lists is not None
    assert kept.learned.lists.homes.tobytes() == learned.lists.homes[left].tobytes()
    again = opened(kept)
    found = answers(again)
    assert len(found) == 40
    for question, (_, scores) in zip(structured(40, 91), found, strict=True):
        exact = view.search(question, LIMIT, view.head_alive)[1]
        assert np.isin(np.frombuffer(scores, np.float32), exact).sum() >= LIMIT - 1


def test_what_was_found_to_have_no_lists_is_not_tried_again(tmp_path: Path) -> None:
    view, learned = trained(filled(noise(ROWS, 1)), noise)
    assert learned.lists is None
    assert learned.trained_rows == ROWS
    again = opened(read(written(view), tmp_path))
    for question in noise(2 * RECENT_MIN, 90):
        assert again.near(question, LIMIT, None) is None
        again.search(question, LIMIT, None)
    assert again.tiers.indexed.trained == (ROWS, None)
    assert not again.tiers.is_due


def test_what_another_release_made_otherwise_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: tuple[PartitionView, Learned]
) -> None:
    view, _ = known
    monkeypatch.setattr(kept_learned, "RECIPE", kept_learned.RECIPE ^ 1)
    content = written(view)
    monkeypatch.undo()
    kept = read(content, tmp_path)
    assert kept.learned is None
    assert len(kept.clip_no) == ROWS, "its rows are of use"


def test_a_partition_of_few_rows_learns_nothing(
    tmp_path: Path, known: tuple[PartitionView, Learned]
) -> None:
    view, _ = known
    kept = read(written(view), tmp_path)
    made = Partition(DIM, "cosine")
    made.extend(clip_rows(structured(100, 1)))
    assert kept.learned is not None
    made.learn(kept.learned)
    assert made.view().tiers.learned is None


@pytest.mark.parametrize("what", ["home", "steps", "centres"])
def test_numbers_of_what_is_not_there_are_told(
    tmp_path: Path, known: tuple[PartitionView, Learned], what: str
) -> None:
    """In a file whose checksums are right."""
    view, learned = known
    assert learned.lists is not None
    changed, value = {
        "home": (learned.lists.homes, learned.lists.count),
        "steps": (learned.sketch.basis.steps, 0),
        "centres": (learned.lists.centres.places.reshape(-1), np.nan),
    }[what]
    before = changed[7]
    changed[7] = value
    try:
        content = written(view)
    finally:
        changed[7] = before
    with pytest.raises(BadCheckpoint):
        read(content, tmp_path)


def test_codes_of_more_rows_than_are_kept_are_told() -> None:
    codes = np.zeros((4, 66), np.uint8)
    assert filled_reader(codes, np.array([3])).learned(4) is not None
    for unbounded, rows in (([], 3), ([4], 4), ([-1], 4)):
        with pytest.raises(BadBlock):
            filled_reader(codes, np.array(unbounded, np.int64)).learned(rows)


def filled_reader(codes: Array, unbounded: Array) -> LearnedReader:
    """One that was given these codes."""
    reader = LearnedReader(DIM)
    directions = codes.shape[1] - 2
    arrays = reader.arrays(DIRECTIONS, directions, 24 + 4 * directions * (DIM + 1))
    assert arrays is not None
    arrays[0][:] = kept_learned.RECIPE, 1, 0
    arrays[1][:], arrays[2][:] = 0, 1
    reader.take(DIRECTIONS, (0.1, 0.0), arrays)
    assert reader.arrays(CODES, len(codes), codes.nbytes + 8 * len(unbounded)) is not None
    reader.take(CODES, (0.0, 0.0), [codes, unbounded])
    return reader


def test_blocks_of_another_length_or_out_of_order_are_told() -> None:
    with pytest.raises(BadBlock):
        LearnedReader(DIM).arrays(CODES, 1, 64)
    with pytest.raises(BadBlock):
        LearnedReader(DIM).arrays(DIRECTIONS, 10, 24)
    codes = np.zeros((4, 66), np.uint8)
    reader = filled_reader(codes, np.empty(0, np.int64))
    with pytest.raises(BadBlock):
        reader.arrays(LISTS, 4, 24 + 4 * 4 + 3)
    with pytest.raises(BadBlock):
        reader.arrays(CODES, 4, 4 * 66)
