"""Several sound tracks beside one picture: languages, a commentary, each microphone of a camera."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from av.stream import Disposition

from perception.errors import SourceUnreadable

if TYPE_CHECKING:
    from av import AudioStream


def heard_of(tracks: Sequence[AudioStream], wanted: int | str | None) -> AudioStream:
    """The track that is heard.

    wanted: its number, from 1, or its language as the medium writes it (``deu``); of several in a language the first.
    None: the one that the medium marks as its default, else the first.  Raises `SourceUnreadable` (``NO_SUCH_TRACK``),
    which names those that there are.
    """
    if wanted is None:
        marked = [track for track in tracks if track.disposition & Disposition.default]
        return (marked or tracks)[0]
    if isinstance(wanted, int):
        found = tracks[wanted - 1 : wanted]
    else:
        found = [track for track in tracks if _language(track) == wanted.lower()]
    if not found:
        there = ", ".join(
            f"{number} {_language(track) or 'of no language'}"
            for number, track in enumerate(tracks, 1)
        )
        raise SourceUnreadable(
            f"no sound track {wanted}; there are: {there}", reason="NO_SUCH_TRACK", field="source"
        )
    return found[0]


def _language(track: AudioStream) -> str:
    return (track.language or "").lower()
