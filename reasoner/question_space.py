"""In which space a user is asked, and by which encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from memdb.errors import FailedPrecondition, InvalidArgument, NotFound
from memdb.types.database import Database, User
from memdb.types.space import Space
from perception.encoders import BUNDLED
from perception.encoders.needs import BUNDLED_ARTEFACTS, BUNDLED_TEXT_ARTEFACTS
from perception.weights import announce
from reasoner.questions import QuestionEncoder, question_encoder

_CAMERAS_TOLD: Final = 8
"""Names of cameras in the answer to one that is not there."""


def space_and_encoder(
    db: Database,
    user: User,
    name: str | None,
    encoder: str | None,
    cameras: Sequence[str] | None,
    tell: Callable[[str], None],
) -> tuple[Space, QuestionEncoder]:
    """The space to ask in and what embeds questions into it.

    The named one, or the only one among the cameras, or the only one there is an encoder for.  tell: takes what
    the caller should know, such as weights that are to be fetched.  Raises `InvalidArgument` (``NO_STREAMS``,
    ``SPACE_REQUIRED``) and as `question_encoder`.
    """
    _announce_weights(encoder, tell)
    if name is not None:
        named = _named(db, name)
        return named, question_encoder(named, encoder)
    known = user.streams()
    streams = [info for info in known if cameras is None or info.name in cameras]
    names = sorted({info.space for info in streams})
    absent = [name for name in cameras or () if all(info.name != name for info in known)]
    if absent or not names:
        there = ", ".join(info.name for info in known[:_CAMERAS_TOLD])
        more = len(known) - _CAMERAS_TOLD
        why = f"no such cameras; there are {there}" + (f" and {more} more" * (more > 0))
        raise InvalidArgument(
            why if known else "the user has no cameras: nothing was ingested yet",
            reason="NO_STREAMS",
            field="camera",
            value=", ".join(absent),
        )
    found: list[tuple[Space, QuestionEncoder]] = []
    missing: FailedPrecondition | None = None
    for space in map(db.space, names):
        try:
            found.append((space, question_encoder(space, encoder)))
        except FailedPrecondition as error:
            missing = error
    if missing is not None and not found:
        raise missing
    if len(found) > 1:
        raise InvalidArgument(
            "the cameras have clips in several spaces; name one with --space",
            reason="SPACE_REQUIRED",
            field="space",
            value=", ".join(space.name for space, _ in found),
        )
    chosen = found[0]
    left_out = sorted(info.name for info in streams if info.space != chosen[0].name)
    if left_out:
        tell(
            f"asking in space {chosen[0].name}; no encoder for the clips of " + ", ".join(left_out)
        )
    return chosen


def _named(db: Database, name: str) -> Space:
    """Raises `NotFound` (``SPACE_NOT_FOUND``) with the spaces that there are: who asks makes none."""
    try:
        return db.space(name)
    except NotFound as error:
        told = error.again()
        there = ", ".join(space.name for space in db.spaces())
        told.message = f"no such space; there are {there}" if there else "there are no spaces yet"
        raise told from None


def _announce_weights(encoder: str | None, tell: Callable[[str], None]) -> None:
    """Say what has to be fetched first, if anything."""
    if encoder is None:
        announce(BUNDLED_TEXT_ARTEFACTS, tell)
    elif encoder == BUNDLED:
        announce(BUNDLED_ARTEFACTS, tell)
