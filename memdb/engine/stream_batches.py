"""Batches of several streams of one user, written as one: they share a commit, and one thread leads it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from memdb.engine.lateness import NOTHING, Newest
from memdb.engine.passage import Passage
from memdb.engine.prepared_clips import filled, may_pass_in_part, write_prepared
from memdb.engine.run_acks import Outcomes, first_of
from memdb.engine.stream import EmbeddedStream
from memdb.errors import MemdbError
from memdb.types.clip import Clip
from memdb.types.operation import WriteClip, WriteRun, parts
from memdb.types.plain_run import PlainRun

Batch = tuple[EmbeddedStream, Sequence[Clip | PlainRun]]
Written = Outcomes | Exception
"""An outcome for each clip of a batch, or what befell all of it: also what is no refusal, as where memory is short."""
_NOTHING: Final = Outcomes(())


def _nothing() -> None:
    """Nobody waits for it."""


def write_batches(
    batches: Sequence[Batch],
    queued: Callable[[], None] = _nothing,
    on_its_way: Newest = NOTHING,
    passages: Sequence[Passage] | None = None,
) -> list[Written]:
    """`EmbeddedStream.write_batch` of each, all of one user, for one thread: an acknowledgement or error for each of
    its clips, in order, or what befell the batch as a whole.

    queued: called when later calls can only come behind the commit that they share, perhaps more than once;
    on_its_way: see `memdb.engine.prepared_clips`; passages: of each batch one.
    """
    passages = passages or [Passage() for _ in batches]
    together = _together(batches, queued, on_its_way, passages) if len(batches) > 1 else None
    if together is not None:
        return together
    last = len(batches) - 1
    return [
        _alone(stream, clips, queued if index == last else _nothing, on_its_way, passages[index])
        for index, (stream, clips) in enumerate(batches)
    ]


def its_own(error: Exception) -> Exception:
    """What befell one stream, for it alone: a refusal without its frames, which hold the clips and what is returned;
    what is none with them, which say where it was."""
    return error.again() if isinstance(error, MemdbError) else error


def _alone(
    stream: EmbeddedStream,
    clips: Sequence[Clip | PlainRun],
    queued: Callable[[], None],
    on_its_way: Newest,
    passage: Passage,
) -> Written:
    try:
        return stream.write_batch(clips, queued, on_its_way, (passage,))
    except Exception as error:  # of its stream alone, whatever it is: no memory, say
        return its_own(error)


def _together(
    batches: Sequence[Batch],
    queued: Callable[[], None],
    on_its_way: Newest,
    passages: Sequence[Passage],
) -> list[Written] | None:
    """None where each is to be tried alone: the first of them creates the user, there is no room for all, or one is
    behind what was refused."""
    user = batches[0][0].user
    if not user.is_known():
        return None
    found: list[Written] = []
    prepared: list[tuple[int, list[WriteClip | WriteRun], list[MemdbError | None]]] = []
    for index, (stream, clips) in enumerate(batches):
        try:
            prepared.append((index, *stream.prepare_all(clips)))
            found.append(_NOTHING)
        except Exception as error:  # of its stream alone, whatever it is: no memory, say
            found.append(its_own(error))

    try:
        outcomes = write_prepared(
            user,
            [operation for _, operations, _ in prepared for operation in operations],
            queued,
            on_its_way,
            passages,
        )
    except Exception as error:  # whatever it is, what is behind them waits to be told
        if may_pass_in_part(error) or any(passage.refusal() for passage in passages):
            # Those that were committed before are acknowledged as duplicates.
            return None
        for index, _, _ in prepared:
            found[index] = its_own(error)
        return found
    pieces = iter(outcomes.pieces)
    for index, operations, refusals in prepared:
        found[index] = filled(refusals, first_of(pieces, sum(map(parts, operations))))
    return found
