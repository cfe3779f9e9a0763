"""The value that is told: an answer to a standing question."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Self

from memdb.engine.standing_cursor import Cursor
from memdb.engine.standing_questions import Question
from memdb.engine.standing_rows import NewRow
from memdb.engine.view import View
from memdb.store.idents import IdKind, make_id
from memdb.types.standing import Alert


@dataclass(frozen=True, slots=True)
class ClipTold:
    """What alerts say of a version of a clip, however many questions it answers."""

    id: str
    stream: str
    start_ns: int
    end_ns: int
    about: str
    """What makes its alerts others than those of other clips."""

    @classmethod
    def of(cls, view: View, row: NewRow) -> Self:
        """Of a row."""
        state = view.state
        return cls(
            make_id(state.id_key, IdKind.CLIP, row.clip_no),
            state.stream_names[row.column("stream_no")],
            row.column("start_ns"),
            row.column("end_ns"),
            # After a restore other clips and questions have the numbers of those that it undid.
            f"clip {row.clip_no} from {row.column('start_ns')}",
        )


def alert_of(
    view: View,
    question: Question,
    cursor: Cursor,
    *,
    revision: int,
    happened_ns: int,
    about: str,
    score: float | None = None,
    clip: ClipTold | None = None,
    earlier_no: int | None = None,
) -> Alert:
    """An alert; ``about`` is what makes it another than all others of its question."""
    state = view.state
    body = f"{question.no} of {question.record.created_ns} {about}".encode()
    return Alert(
        blake2b(body, key=state.id_key, digest_size=16, person=b"memdb alert").hexdigest(),
        make_id(state.id_key, IdKind.STANDING, question.no),
        question.record.kind,
        revision,
        happened_ns,
        score,
        None if clip is None else clip.id,
        None if clip is None else clip.stream,
        None if clip is None else clip.start_ns,
        None if clip is None else clip.end_ns,
        None if earlier_no is None else make_id(state.id_key, IdKind.CLIP, earlier_no),
        cursor.text(state.id_key),
    )
