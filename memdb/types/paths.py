"""Paths that callers give."""

from __future__ import annotations

import os
from pathlib import Path

from memdb.errors import InvalidArgument


def checked_text(path: str | os.PathLike[str], field: str) -> str:
    """``path`` as text, if the system can carry it; else `InvalidArgument` (``BAD_PATH``)."""
    text = os.fspath(path)
    try:
        if text and "\0" not in text:
            os.fsencode(text)
            return text
    except UnicodeError:
        pass  # refused below
    raise InvalidArgument("expected a path", reason="BAD_PATH", field=field, value=text)


def checked_path(path: object, field: str) -> str:
    """``path`` as text, if the system and a message can carry it; else `InvalidArgument`
    (``BAD_PATH``).
    """
    text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else None
    try:
        if isinstance(text, str) and text and "\0" not in text:
            text.encode()
            return text
    except UnicodeError:
        pass  # refused below
    raise InvalidArgument("expected a path", reason="BAD_PATH", field=field, value=path)


def check_made(
    path: str | os.PathLike[str], field: str, below: str | os.PathLike[str] = ""
) -> None:
    """Raise `InvalidArgument` (``BAD_PATH``) where a path at which a directory is to be made begins with what only
    shells take for a home directory, unless something is called so: it would be made where the program stands,
    or in the directory that it is ``below``, and an ``rm -r ~`` is near.
    """
    # As it was given: `Path` has no parts of "." and forgets the "./" that says where a "~" is meant.
    first = os.fspath(path).partition(os.sep)[0]
    if first.startswith("~") and not Path(below, first).exists():
        raise InvalidArgument(
            f"{first} is the shell's word for a home directory: os.path.expanduser gives it",
            reason="BAD_PATH",
            field=field,
            value=path,
        )
