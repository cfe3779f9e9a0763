"""A commit in one call of the native edge, where it is installed and the LMDB here is the one it knows.

py-lmdb lets go of the interpreter's lock for the beginning of a transaction, for each look, for each put and for the
commit, and takes it back each time: whoever commits beside threads that make clips waits for it some dozens of times,
while the disk has nothing to do.  The edge lets go of it once.  It opens nothing and brings no LMDB of its own: it
calls the functions of py-lmdb's, on the environment that py-lmdb opened and will close.

py-lmdb does not give its environments out.  Where one lies in its object is known for one release, and nothing is read
there before release, size of the object and the table of functions that it names are those: anything else is left to
py-lmdb.  Then all that a commit rests on is tried, once in a process, in a file that is nobody's.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Final, Literal

import lmdb

from memdb.eventlog import event_log
from memdb.native import is_installed

if TYPE_CHECKING:
    import memdb_edge

_RELEASE: Final = "3.0.0"
"""Of py-lmdb: the layout of `Environment` in ``edge/src/commit.cc`` is its."""
_ENGINE: Final = (0, 9, 36)
_TABLE: Final = "lmdb_api_v09"
"""What an environment of that engine names as its functions."""
_FUNCTIONS: Final = {
    "begin": "mdb09_txn_begin",
    "open": "mdb09_dbi_open",
    "get": "mdb09_get",
    "put": "mdb09_put",
    "commit": "mdb09_txn_commit",
    "abort": "mdb09_txn_abort",
    "path": "mdb09_env_get_path",
    "error": "mdb09_strerror",
}
_ERRORS: Final[Mapping[int, type[lmdb.Error]]] = {
    errno.EACCES: lmdb.ReadonlyError,
    errno.EINVAL: lmdb.InvalidParameterError,
    errno.EAGAIN: lmdb.LockError,
    errno.ENOMEM: lmdb.MemoryError,
    errno.ENOSPC: lmdb.DiskError,
}
"""What the system says, as py-lmdb has it; any other is an `lmdb.Error`."""
_UNTOLD: Final = lmdb.Error("the system refused a commit, and there was no memory to say why")
_PROOF_BYTES: Final = 32 * 4096
"""Of the map in which it is tried: a few pages, so that it can be full."""

log = event_log("memdb.store")

Puts = dict[bytes, bytes | memoryview]
Table = tuple[bytes, Puts, bool]
"""The name of a table, entries to put in their order, and whether each comes after the last that is there."""


@dataclass(frozen=True, slots=True)
class ReadyCommit:
    """What a commit writes, and what is there as long as nobody committed since it was decided."""

    known: tuple[bytes, bytes, bytes]
    """The name of a table, a key in it, and the value."""
    tables: list[Table]


class NativeCommit:
    """That of the edge."""

    def __init__(self, commit: memdb_edge.Commit) -> None:
        self._commit = commit

    def run(self, env: lmdb.Environment, ready: ReadyCommit) -> bool:
        """Commit it; False where nothing was written, for which `lmdb` has the reason: what is known is there no more,
        or LMDB takes an entry, or all of them, not.

        The environment may not be closed meanwhile, nor its map changed.  Raises `lmdb.Error` for what the system
        refuses, as py-lmdb does: after some of that nobody may commit again.
        """
        refused = self._commit.run(env, ready.known, ready.tables)
        if refused is None:
            return True
        if refused is False:
            return False
        try:
            error = _told(refused)
        except MemoryError:
            raise _UNTOLD from None
        if error is None:  # LMDB's own: said before it writes anything
            return False
        raise error

    def path(self, env: lmdb.Environment) -> str:
        """The path of an environment, by LMDB's own function."""
        return os.fsdecode(self._commit.path(env))


def _told(refused: tuple[str, int, str] | Literal[True]) -> lmdb.Error | None:
    """What the system refused; raises `MemoryError`."""
    if refused is True:
        raise MemoryError
    what, code, reason = refused
    if code < 0:
        return None
    error = _ERRORS.get(code, lmdb.Error)(f"{what}: {reason}")
    vars(error).update(what=what, code=code, reason=reason)  # as py-lmdb sets them
    return error


@cache
def native_commit() -> NativeCommit | None:
    """None where there is none, or it is not known to do what py-lmdb does."""
    module = _known()
    if module is None or not is_installed():
        return None
    try:
        found = NativeCommit(_made(module))
        _try(found)
    except (lmdb.Error, OSError, AttributeError, ValueError, TypeError, MemoryError) as error:
        fields = {"error": str(error)}
        log.warning(
            "the native edge's commit is not that of LMDB here: not used", extra={"fields": fields}
        )
        return None
    return found


def _known() -> ModuleType | None:
    """py-lmdb's module of C, where it is the release that is known."""
    if lmdb.__version__ != _RELEASE or lmdb.version() != _ENGINE:
        return None
    try:
        module = import_module("lmdb.cpython")
    except ImportError:  # it was built upon cffi
        return None
    return module if getattr(module, "Environment", None) is lmdb.Environment else None


def _made(module: ModuleType) -> memdb_edge.Commit:
    """Raises `AttributeError` and `ValueError` where the library does not tell where its functions lie, `OSError` where
    it cannot be asked, and `ValueError` where its environments are of another size.
    """
    import memdb_edge  # noqa: PLC0415 - it need not be there

    assert module.__file__ is not None, "a library"
    library = ctypes.CDLL(module.__file__)  # which is loaded: no other one is
    functions = {
        name: ctypes.cast(getattr(library, symbol), ctypes.c_void_p).value or 0
        for name, symbol in _FUNCTIONS.items()
    }
    table = ctypes.addressof(ctypes.c_char.in_dll(library, _TABLE))
    return memdb_edge.Commit(lmdb.Environment, table, **functions)


def _try(commit: NativeCommit) -> None:
    """Raise `ValueError`, or what LMDB says, unless it does in an environment of its own what py-lmdb would."""
    with _nobodys() as env:
        _check(commit.path(env) == env.path(), "environment")
        names = (b"a", b"b")
        tables = {name: env.open_db(name) for name in names}
        with env.begin(write=True) as txn:
            txn.put(b"known", b"0", db=tables[b"a"])
        many: Puts = {b"%03d" % no: b"%d" % no * no for no in range(1, 60)}
        some: Puts = {b"known": memoryview(b"1"), b"none": b""}
        wanted = {b"a": {b"known": b"1", b"none": b""}, b"b": many}
        zero, one = (b"a", b"known", b"0"), (b"a", b"known", b"1")
        gone: Table = (b"a", {b"gone": b"1"}, False)
        turns: list[tuple[tuple[bytes, bytes, bytes], list[Table], bool]] = [
            (one, [(b"a", some, False)], False),  # not what is there
            ((b"a", b"unknown", b""), [(b"a", some, False)], False),
            (zero, [(b"a", some, False), (b"b", many, True)], True),
            (one, [gone, (b"b", {b"000": b""}, True)], False),  # not after the last
            (one, [gone, (b"a", {b"": b""}, False)], False),
            (one, [gone, (b"c", {b"1": b""}, False)], False),  # no such table
            (one, [gone, (b"a", {b"large": bytes(2 * _PROOF_BYTES)}, False)], False),
        ]
        for known, puts, is_done in turns:
            before = int(env.info()["last_txnid"])
            _check(commit.run(env, ReadyCommit(known, puts)) is is_done, "outcome")
            _check(int(env.info()["last_txnid"]) == before + is_done, "transaction")
        for turn in range(3):  # one after the other, and py-lmdb's between
            ready = ReadyCommit(one, [(b"b", {b"9%d" % turn: b"x"}, True)])
            _check(commit.run(env, ready), "again")
            with env.begin(write=True) as txn:
                _check(txn.delete(b"9%d" % turn, db=tables[b"b"]), "both")
        with env.begin() as txn:
            for name in names:
                with txn.cursor(tables[name]) as cursor:
                    _check(dict(cursor) == wanted[name], "content")
    try:
        commit.path(env)
    except ValueError:
        return
    raise ValueError("an environment that is closed")


def _check(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(f"not as py-lmdb has it: {what}")


@contextmanager
def _nobodys() -> Iterator[lmdb.Environment]:
    """An environment in memory that no other process sees."""
    descriptor = os.memfd_create("memdb-commit", os.MFD_CLOEXEC)
    try:
        path = f"/proc/self/fd/{descriptor}"
        env = lmdb.open(
            path, subdir=False, lock=False, sync=False, map_size=_PROOF_BYTES, max_dbs=2
        )
        try:
            yield env
        finally:
            env.close()
    finally:
        os.close(descriptor)
