"""Directories that appear under their names whole: made under a temporary name beside it, synced,
renamed, over nothing or over an empty directory only.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from memdb.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    ResourceExhausted,
    Unavailable,
)
from memdb.eventlog import event_log
from memdb.store.files import sync_directory
from memdb.store.shredding import KEY_FILE, shred_key
from memdb.store.system import unusable

FILE_NAME: Final = re.compile(r"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")
"""Names of archives and of the files in them."""
log = event_log("memdb.store")

_OUR_SUFFIX: Final = re.compile(r"\A[0-9a-f]{16}\Z")


@contextmanager
def making(target: Path, prefix: str) -> Iterator[tuple[Path, int]]:
    """A temporary directory beside ``target``, removed unless the block renames it away, and the file
    descriptor of its lock.

    Whoever holds the descriptor open, a child that inherits it too, keeps others from taking the
    directory for what a crash left; such remains are removed first, data keys overwritten.

    Raises `refused` where the system refuses it, or what the block does.
    """
    try:
        _sweep(target.parent, prefix)
        temporary, fd = _locked(target.parent, prefix)
    except OSError as error:
        raise refused(error, target) from error
    try:
        yield temporary, fd
    except OSError as error:
        raise refused(error, target) from error
    finally:
        remove_made(temporary)
        os.close(fd)


def _locked(parent: Path, prefix: str) -> tuple[Path, int]:
    """A new directory of our own, and what holds its lock."""
    while True:
        temporary = parent / f"{prefix}{secrets.token_hex(8)}"
        temporary.mkdir(mode=0o700)
        fd = os.open(temporary, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if temporary.exists():
                return temporary, fd
        except OSError:
            os.close(fd)
            remove_made(temporary)
            raise
        os.close(fd)  # another process took it for a leftover before it was locked


@contextmanager
def in_place(temporary: Path, target: Path) -> Iterator[None]:
    """Rename a whole directory to its name, over nothing or an empty directory; the name is durable
    when the block is over.

    Raises `AlreadyExists` (``PATH_EXISTS``) when something has come to lie there.
    """
    try:
        temporary.rename(target)
    except OSError as error:
        check_free(target)
        raise refused(error, target) from error
    yield
    try:
        sync_directory(target.parent)
    except OSError as error:
        # Power may take its name, so it is not there; nor is it in the way of another try.
        with suppress(OSError):
            target.rename(temporary)
        raise refused(error, target) from error


def refused(error: OSError, target: Path) -> ResourceExhausted | FailedPrecondition | Unavailable:
    """What the system says, in our words; see `memdb.store.system.unusable`."""
    return unusable(error, str(target))


@contextmanager
def usable(path: str | os.PathLike[str]) -> Iterator[None]:
    """Tell what the system says of a path that a caller named: `refused`."""
    try:
        yield
    except OSError as error:
        raise refused(error, Path(path)) from error


def check_free(target: Path) -> None:
    """Raise `AlreadyExists` (``PATH_EXISTS``) unless nothing, or an empty directory, lies there."""
    if target.is_symlink() or (
        target.exists() and not (target.is_dir() and next(target.iterdir(), None) is None)
    ):
        raise AlreadyExists(
            "something lies there; it is never overwritten",
            reason="PATH_EXISTS",
            field="path",
            value=str(target),
        )


def checked_name(path: Path) -> Path:
    """``path`` as one that an archive may have; raises `InvalidArgument` (``BAD_PATH``)."""
    full = Path(os.path.abspath(path))  # noqa: PTH100 - links of the parent stay as they are
    if FILE_NAME.match(full.name) is None:
        raise InvalidArgument(
            "an archive's name is 1 to 128 of A-Z a-z 0-9 _ . - and begins with no dot or dash",
            reason="BAD_PATH",
            field="path",
            value=full.name,
        )
    return full


def _sweep(parent: Path, prefix: str) -> None:
    for left in parent.glob(f"{prefix}*"):
        if _OUR_SUFFIX.match(left.name.removeprefix(prefix)) is None:
            continue
        try:
            fd = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            continue  # gone, or not ours
        try:
            if os.fstat(fd).st_uid != os.geteuid():
                continue  # everybody may leave something of that name in the system's temporary folder
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue  # somebody still works there
        else:
            remove_made(left)
        finally:
            os.close(fd)


def remove_made(folder: Path) -> None:
    """Remove what was made in vain, or for a while; data keys are overwritten first."""
    with suppress(OSError):
        for key in folder.rglob(KEY_FILE):
            shred_key(key.parent)
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        # What was made is done with, or has failed for another reason, which is told.
        fields = {"path": str(folder)}
        log.warning("a copy is left for the next call to remove", extra={"fields": fields})
