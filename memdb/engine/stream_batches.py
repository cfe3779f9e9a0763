"""Batches of several streams of one user, written as one: they share a commit, and one thread leads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from memdb.engine import lateness
from memdb.engine.memory import UserMemory
from memdb.engine.stream import EmbeddedStream, filled
from memdb.errors import MemdbError, ResourceExhausted
from memdb.types.clip import Ack, Clip
from memdb.types.operation import Operation, WriteClip

Batch = tuple[EmbeddedStream, Sequence[Clip]]
Outcomes = list[Ack | MemdbError]
Written = Outcomes | Exception
"""An outcome for each clip of a batch, or what befell all of it: also what is no refusal, as where memory is short."""

_NO_ROOM: Final = ("DISK_FULL", "QUOTA")
"""What refuses a commit and may let a part of it pass."""


def write_batches(batches: Sequence[Batch]) -> list[Written]:
    """`EmbeddedStream.write_batch` of each, all of one user, for one thread: an acknowledgement or error for each of
    its clips, in order, or what befell the batch as a whole.

    Raises what is no refusal of a commit that they share.
    """
    together = _together(batches) if len(batches) > 1 else None
    if together is not None:
        return together
    return [_alone(stream, clips) for stream, clips in batches]


def its_own(error: Exception) -> Exception:
    """What befell one stream, for it alone: a refusal without its frames, which hold the clips and what is returned;
    what is none with them, which say where it was."""
    return error.again() if isinstance(error, MemdbError) else error


def _alone(stream: EmbeddedStream, clips: Sequence[Clip]) -> Written:
    try:
        return stream.write_batch(clips)
    except Exception as error:  # of its stream alone, whatever it is: no memory, say
        return its_own(error)


def _together(batches: Sequence[Batch]) -> list[Written] | None:
    """None where each is to be tried alone: the first of them creates the user, or there is no room for all."""
    user = batches[0][0].user
    if not user.is_known():
        return None
    found: list[Written] = []
    prepared: list[tuple[int, list[WriteClip], list[MemdbError | None]]] = []
    for index, (stream, clips) in enumerate(batches):
        try:
            prepared.append((index, *stream.prepare_all(clips)))
            found.append([])
        except Exception as error:  # of its stream alone, whatever it is: no memory, say
            found.append(its_own(error))

    def write(memory: UserMemory) -> None:
        view, ahead_max = memory.view, user.seq_ahead_max
        late = [lateness.refusals(view, operations, ahead_max) for _, operations, _ in prepared]
        taken: list[Operation] = [
            operation
            for (_, operations, _), refusals in zip(prepared, late, strict=True)
            for operation, refusal in zip(operations, refusals, strict=True)
            if refusal is None
        ]
        outcomes = iter(memory.write(taken))
        for (index, _, refusals), its_late in zip(prepared, late, strict=True):
            found[index] = filled(refusals, filled(its_late, outcomes))  # type: ignore[arg-type]  # clips give acks

    try:
        user.with_memory(write, create=True)
    except MemdbError as error:
        if isinstance(error, ResourceExhausted) and error.reason in _NO_ROOM:
            # Those that were committed before are acknowledged as duplicates.
            return None
        for index, _, _ in prepared:
            found[index] = error.again()
    return found
