"""Clips that were made operations of, written: of one stream or of several of one user, in one go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final

from memdb.engine import lateness
from memdb.engine.applied import Outcome
from memdb.engine.apply_run import one_by_one
from memdb.engine.passage import Passage
from memdb.engine.run_acks import Outcomes, Piece
from memdb.errors import MemdbError, ResourceExhausted
from memdb.types.operation import Operation, WriteClip, WriteRun, parts

if TYPE_CHECKING:
    from memdb.engine.memory import UserMemory
    from memdb.engine.user import EmbeddedUser

_NO_ROOM: Final = ("DISK_FULL", "QUOTA")


def write_prepared(
    user: EmbeddedUser,
    operations: Sequence[WriteClip | WriteRun],
    queued: Callable[[], None] | None = None,
    on_its_way: lateness.Newest = lateness.NOTHING,
    passages: Sequence[Passage] = (),
) -> Outcomes:
    """Store clips; blocks until they are durable and searchable.  An acknowledgement or error for each, in order, also
    for each of a run.

    queued: called when later calls can only come behind this one; on_its_way: what this one came behind; passages: of
    those, with which it is refused.

    Raises what refuses all of them: `ResourceExhausted`, `Unavailable`.
    """

    def write(memory: UserMemory) -> Outcomes:
        reached: dict[tuple[str, int], int] = {}
        refusals = lateness.refusals(
            memory.view, operations, user.seq_ahead_max, on_its_way, reached
        )
        for passage in passages:
            passage.reached = reached
        if not any(refusals):
            return _joined(memory.write(list(operations), queued, passages))
        taken = list(_admitted(operations, refusals))
        return filled(refusals, _joined(memory.write(taken, queued, passages)))

    return user.with_memory(write, create=True)


def _admitted(
    operations: Iterable[WriteClip | WriteRun], refusals: Sequence[MemdbError | None]
) -> Iterator[Operation]:
    """Operations without the clips that are refused: runs that have one of these are taken apart."""
    of_each = iter(refusals)
    for operation in operations:
        its_own = list(islice(of_each, parts(operation)))
        if not any(its_own):
            yield operation
            continue
        each = one_by_one([operation])
        yield from (one for one, refusal in zip(each, its_own, strict=True) if refusal is None)


def _joined(outcomes: Iterable[Outcome]) -> Outcomes:
    """Those of the clips of runs among the others."""
    found: list[Piece] = []
    for outcome in outcomes:
        if isinstance(outcome, list):
            found += outcome  # type: ignore[arg-type]  # clips give acks
        else:
            found.append(outcome)  # type: ignore[arg-type]  # as above
    return Outcomes(found)


def filled(refusals: Sequence[MemdbError | None], outcomes: Outcomes) -> Outcomes:
    """What is refused, and between it in order what became of the others."""
    if not any(refusals):
        return outcomes
    following = iter(outcomes)
    return Outcomes([refusal or next(following) for refusal in refusals])


def may_pass_in_part(error: Exception) -> bool:
    """Whether what refused all of a commit may let a part of it pass."""
    return isinstance(error, ResourceExhausted) and error.reason in _NO_ROOM
