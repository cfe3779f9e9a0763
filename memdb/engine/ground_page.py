"""One page of an answer to a question; all pages are as of one revision.

An answer as of a revision is the same for ever, so a page need not be kept for the next: the question is
asked again, as of the revision of the first page, and what comes behind the last hit is given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from memdb.engine.ground_cursor import GroundCursor, question_digest
from memdb.engine.ground_window import Last, Window
from memdb.engine.grounding import ground
from memdb.engine.question import Question
from memdb.engine.view import View
from memdb.errors import FailedPrecondition, InvalidArgument, NotFound
from memdb.store.environment import Environment
from memdb.types.grounding import PAGED_POLICIES, Grounding


def ground_page(
    environment: Environment,
    view: View,
    question: Question,
    cursor: str,
    as_of: int | None,
    resolve: Callable[[int], int | None],
) -> Grounding:
    """The first page for an empty ``cursor``, else the one behind it.

    as_of: what the caller named, None for nothing.  resolve: `UserMemory.resolve` of a revision.

    Raises `InvalidArgument` (``BAD_CURSOR``, ``OTHER_QUESTION``, ``OTHER_MOMENT``, ``BAD_POLICY``), `NotFound`
    (``REVISION_NOT_FOUND``) and `FailedPrecondition` (``HISTORY_COLLECTED``, ``CURSOR_GONE``), all of the field
    ``cursor``, and as `ground`.
    """
    if question.policy not in PAGED_POLICIES:
        raise InvalidArgument(
            f"pages are of {' and '.join(PAGED_POLICIES)}; this policy gives a few hits, all at once",
            reason="BAD_POLICY",
            field="policy",
            value=question.policy,
        )
    digest = question_digest(question)
    revision = view.revision if as_of is None else as_of
    window = Window(question.limit)
    if cursor:
        told = GroundCursor.parse(cursor, view.state.id_key)
        if told.question != digest:
            raise InvalidArgument(
                "the cursor is of another question", reason="OTHER_QUESTION", field="cursor"
            )
        revision = told.revision
        if as_of is None:
            _check_there(revision, resolve)
        elif as_of != revision:
            raise InvalidArgument(
                f"the cursor is of revision {revision}",
                reason="OTHER_MOMENT",
                field="cursor",
                value=as_of,
            )
        window = Window(question.limit, told.place, Last(told.clip_no, told.birth, told.score))
    answer = ground(
        environment,
        view,
        replace(question, window=window),
        None if revision == view.revision else revision,
    )
    last = window.last
    if last is None:
        return answer
    end = GroundCursor(revision, window.place, last.clip_no, last.birth, last.score, digest)
    return replace(answer, next_cursor=end.text(view.state.id_key))


def _check_there(revision: int, resolve: Callable[[int], int | None]) -> None:
    try:
        resolve(revision)
    except (NotFound, FailedPrecondition) as error:
        # The caller named no revision.
        other = type(error)(error.message, reason=error.reason, field="cursor", value=revision)
        raise other from None
