"""Restore drill: questions of the past, asked of the running database and of what its archive restores
to; every answer must be the same to the byte.

The questions are the stored global memories of sampled clips, asked as of the revision that the
archive holds, so a database that went on meanwhile is compared all the same.  What was forgotten or
erased since the backup differs, rightly, and is reported: drill right after a backup.
"""

from __future__ import annotations

import hashlib
import os
import random
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from memdb.config import EngineConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.restore import NO_KEYS, restore
from memdb.errors import MemdbError, NotFound
from memdb.store.appearing import making
from memdb.store.archivekeys import KeyFiles
from memdb.types.backup import DrillReport
from memdb.types.checks import check_int
from memdb.types.clip import StoredClip
from memdb.types.database import Database, User
from memdb.types.limits import LIMIT_MAX
from memdb.types.paths import checked_text

QUESTIONS: Final = 32
"""Of each user."""
QUESTIONS_MAX: Final = 2**31 - 1
_LIMIT: Final = 8
_PAGE: Final = 256
_NAME: Final = "memdb-drill"
_TEMPORARY: Final = ".memdb-drill-"
_UNANSWERED: Final = frozenset(
    {
        "UNAVAILABLE",
        "SHUTTING_DOWN",
        "CLOSED",
        "OVERLOADED",
        "DEADLINE_EXCEEDED",
        "CALLER_LEFT",
        "UNAUTHENTICATED",
        "PERMISSION_DENIED",
    }
)
"""Reasons that tell nothing of what is stored: who asked the next question would wait as long again."""


def drill(
    archive: str | os.PathLike[str],
    live: Database,
    *,
    questions: int = QUESTIONS,
    seed: int = 0,
    scratch: str | os.PathLike[str] | None = None,
    keys: KeyFiles = NO_KEYS,
    config: EngineConfig | None = None,
) -> DrillReport:
    """Restore ``archive`` below ``scratch`` (the system's temporary folder), compare, and remove it, as what
    a drill that was killed has left there.

    questions: at most so many clips of each user are asked about, drawn by ``seed``.
    keys: of an archive of an encrypted directory.

    Raises as `restore`, `InvalidArgument` (``OUT_OF_RANGE``) where nothing is to be asked, of ``scratch``
    `memdb.store.appearing.refused`, and what ``live`` raises where it answers nothing (`Unavailable`,
    `DeadlineExceeded`).
    """
    check_int(questions, "questions", 1, QUESTIONS_MAX)
    place = Path(tempfile.gettempdir() if scratch is None else checked_text(scratch, "scratch"))
    # Removed in the end, or, where a drill was killed, by the next one there: who is erased later must not
    # have left a key or a word here.
    with making(place / _NAME, _TEMPORARY) as (folder, _):
        restore(archive, folder / "data", keys=keys, config=config)
        of_copy = replace(config or EngineConfig(), master_key_file=keys.master)
        with EmbeddedDatabase(folder / "data", config=of_copy) as copy:
            return _compared(copy, live, questions, random.Random(seed))  # noqa: S311 - a sample


def _compared(
    copy: EmbeddedDatabase, live: Database, questions: int, chosen: random.Random
) -> DrillReport:
    asked = 0
    differences: list[tuple[str, str]] = []
    verification = copy.verify()
    differences.extend(
        (item.user, f"{item.where}: {item.what}") for item in verification.discrepancies
    )
    users = copy.users()
    for name in users:
        if not _is_there(live.user(name)):
            asked += 1
            differences.append((name, "user"))  # every other question would differ as well
            continue
        for label, ask in _questions(copy.user(name), questions, chosen):
            asked += 1
            if _answer(ask, copy.user(name)) != _answer(ask, live.user(name)):
                differences.append((name, label))
    return DrillReport(len(users), asked, tuple(differences))


def _is_there(user: User) -> bool:
    """Whether there is such a user; one that cannot be read is there."""
    try:
        user.revision()
    except MemdbError as error:
        if error.reason in _UNANSWERED:
            raise
        return error.reason != "USER_NOT_FOUND"
    return True


def _answer(ask: Callable[[User], object], user: User) -> str:
    """The answer as a digest; an error is an answer too, but for one of `_UNANSWERED`, which is raised."""
    try:
        found = ask(user)
    except MemdbError as error:
        if error.reason in _UNANSWERED:
            raise
        found = (type(error).__name__, error.reason, error.field)
    return hashlib.sha256("\n".join(_spelled(found)).encode()).hexdigest()


def _questions(
    user: User, count: int, chosen: random.Random
) -> Iterator[tuple[str, Callable[[User], object]]]:
    revision = user.revision()
    if revision == 0:
        return
    yield "streams", partial(_streams, revision=revision)
    yield "facts", partial(_facts, revision=revision)
    for stream in user.streams():
        yield f"stream {stream.name}", partial(_stream, name=stream.name, revision=revision)
    for clip in _sample(user, count, chosen):
        yield f"ground {clip.id}", partial(_ground, clip=clip, revision=revision)
        yield f"clip {clip.id}", partial(_clip, clip=clip, revision=revision)
        for utterance in clip.transcript[:1]:
            yield f"recall {clip.id}", partial(_recall, text=utterance.text, revision=revision)


def _streams(user: User, revision: int) -> object:
    return [stream for stream in user.streams() if stream.revision <= revision]


def _facts(user: User, revision: int) -> object:
    return user.facts(as_of=revision, limit=LIMIT_MAX)


def _clip(user: User, clip: StoredClip, revision: int) -> object:
    return user.clip(clip.id, as_of=revision, with_short_memory=True)


def _ground(user: User, clip: StoredClip, revision: int) -> object:
    found = user.ground(
        clip.global_memory, limit=_LIMIT, as_of=revision, space=clip.space, with_short_memory=True
    )
    return found.hits, found.gaps, found.gaps_left_out, found.fallback


def _recall(user: User, text: str, revision: int) -> object:
    found = user.recall(text, as_of=revision)
    return found.hits, found.arms


def _stream(user: User, name: str, revision: int) -> object:
    gaps = user.stream(name).gaps(as_of=revision)
    try:
        found = user.long_term(stream=name, as_of=revision)
    except NotFound as error:
        return gaps, error.reason
    return gaps, found.tokens, found.spans


def _sample(user: User, count: int, chosen: random.Random) -> list[StoredClip]:
    """Clips drawn evenly, page by page."""
    kept: list[StoredClip] = []
    seen = 0
    after: str | None = None
    while page := user.clips(limit=_PAGE, after=after):
        for clip in page:
            seen += 1
            if len(kept) < count:
                kept.append(clip)
            elif (place := chosen.randrange(seen)) < count:
                kept[place] = clip
        after = page[-1].id
    return kept


def _spelled(value: Any) -> Iterator[str]:
    """A value as text that differs whenever a byte of it does."""
    if isinstance(value, (str, bytes, int, float, type(None))):
        yield repr(value)
    elif isinstance(value, np.ndarray):
        yield f"{value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"
    elif isinstance(value, (list, tuple)):
        yield f"{len(value)} of"
        for item in value:
            yield from _spelled(item)
    elif hasattr(value, "items"):
        yield from _spelled(sorted(value.items()))
    else:
        for item in fields(value):
            yield item.name
            yield from _spelled(getattr(value, item.name))
