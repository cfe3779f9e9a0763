"""The value that is told: an answer to a standing question."""

from __future__ import annotations

from hashlib import blake2b

from memdb.engine.standing_cursor import Cursor
from memdb.engine.standing_questions import Question
from memdb.engine.standing_rows import NewRow
from memdb.engine.view import View
from memdb.store.idents import IdKind, make_id
from memdb.types.standing import Alert


def alert_of(
    view: View,
    question: Question,
    cursor: Cursor,
    *,
    revision: int,
    happened_ns: int,
    about: str,
    score: float | None = None,
    row: NewRow | None = None,
    earlier_no: int | None = None,
) -> Alert:
    """An alert; ``about`` is what makes it another than all others of its question."""
    state = view.state
    body = f"{question.no} {about}".encode()
    return Alert(
        blake2b(body, key=state.id_key, digest_size=16, person=b"memdb alert").hexdigest(),
        make_id(state.id_key, IdKind.STANDING, question.no),
        question.record.kind,
        revision,
        happened_ns,
        score,
        None if row is None else make_id(state.id_key, IdKind.CLIP, row.clip_no),
        None if row is None else state.stream_names[row.column("stream_no")],
        None if row is None else row.column("start_ns"),
        None if row is None else row.column("end_ns"),
        None if earlier_no is None else make_id(state.id_key, IdKind.CLIP, earlier_no),
        cursor.text(state.id_key),
    )
