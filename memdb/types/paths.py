"""Paths that callers give."""

from __future__ import annotations

import os

from memdb.errors import InvalidArgument


def checked_text(path: str | os.PathLike[str], field: str) -> str:
    """``path`` as text, if the system can carry it; else `InvalidArgument` (``BAD_PATH``)."""
    text = os.fspath(path)
    if not text or "\0" in text:
        raise InvalidArgument("expected a path", reason="BAD_PATH", field=field, value=text)
    return text


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
