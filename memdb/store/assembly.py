"""Makes a user's environment of an archive's files, in a process of its own.

What comes from an archive is opened as untrusted: LMDB 0.9 keeps no checksums, and a B-tree that was
damaged before it was archived, or made on purpose, can end the process that walks it.  So this
process sizes the file, applies the deltas to it, walks all of the result, and says what it saw; when
it dies, the archive is refused and nothing else happened.

One line of JSON per job on stdin, one line of answer on stdout::

    {"folder": DIR, "tables": [NAME, ...], "deltas": [[FILE, FROM, TO], ...]}
    {"entries": {NAME: COUNT, ...}, "revision": N, "identity": HEX, "log_head": HEX}
    {"error": REASON, "what": TEXT}

``DIR/data.mdb`` is the full copy, and afterwards the result: synced, without free pages.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import lmdb
import xxhash

from memdb import failpoints
from memdb.errors import DataLoss, ResourceExhausted, Unavailable
from memdb.store.delta import Delete, read_delta
from memdb.store.files import sync_directory, sync_file
from memdb.store.schema import DATA_FILE, META_USER, Table, revision_key
from memdb.store.system import FULL, told_full
from memdb.store.transaction import Transaction

_DISK_FULL: Final = "DISK_FULL"
_IO_FAILED: Final = "IO_FAILED"
_START: Final = (
    "import sys; sys.path[:] = sys.argv[1:]; "
    "from memdb.store.assembly import main; sys.exit(main())"
)
"""Imports from where we do; ``-m`` would also take what lies in the working directory, which may be the
archive's."""
_ROOT: Final = str(Path(__file__).resolve().parents[2])
_COMMIT_BYTES: Final = 32 << 20
_ROOM_BYTES: Final = 64 << 20
_MAP_TIMES: Final = 4
"""Of what is written: each change may write its page anew beside the old one, and leave new pages half full.  Address
space alone; the file takes what is used."""


def digest(stored: bytes | memoryview | None) -> str:
    """What identity and head of the log are told apart by; of stored bytes, as they are."""
    return "" if stored is None else hashlib.sha256(stored).hexdigest()


def identity_of(txn: Transaction) -> str:
    """Digest of the user's own record."""
    return digest(txn._txn.get(META_USER, db=txn._handles[Table.META]))


def log_head_of(txn: Transaction, revision: int) -> str:
    """Digest of a revision's log record; empty for revision 0."""
    return digest(txn._txn.get(revision_key(revision), db=txn._handles[Table.LOG]))


class Assembler:
    """The process; started when it is needed, and anew when it has died."""

    def __init__(self, lock: int) -> None:
        """lock: descriptor that keeps the directory ours; the process holds it as long as it lives,
        which after a kill is longer than we do.
        """
        self._lock = lock
        self._process: subprocess.Popen[bytes] | None = None

    def assemble(
        self,
        folder: Path,
        tables: Iterable[Table],
        deltas: Iterable[tuple[Path, int, int]],
        named: str,
    ) -> dict[str, Any]:
        """Do one job; the answer.  Raises `DataLoss`, `ResourceExhausted` (``DISK_FULL``) and `Unavailable`
        (``IO_FAILED``: the system refused it, or there was no memory) naming ``named``.
        """
        if self._process is None:
            self._process = subprocess.Popen(  # noqa: S603 - ourselves
                [sys.executable, "-P", "-c", _START, *filter(None, sys.path), _ROOT],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=(self._lock,),
            )
        job = {
            "folder": str(folder.absolute()),
            "tables": [table.value for table in tables],
            "deltas": [[str(path.absolute()), first, last] for path, first, last in deltas],
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(job).encode() + b"\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            status = self._process.wait()
            self.close()
            if status == -signal.SIGKILL:
                # Nothing that is damaged does that; a system without memory does.
                raise Unavailable(
                    "the process that makes it was killed", reason=_IO_FAILED, field=named
                )
            raise DataLoss(
                f"walking it ended the process (status {status})",
                reason="BAD_ENVIRONMENT",
                field=named,
            )
        answer: dict[str, Any] = json.loads(line)
        if answer.get("error") == _DISK_FULL:
            raise ResourceExhausted("the file system is full", reason=_DISK_FULL, field=named)
        if answer.get("error") == _IO_FAILED:
            raise Unavailable(answer["what"], reason=_IO_FAILED, field=named)
        if "error" in answer:
            raise DataLoss(answer["what"], reason=answer["error"], field=named)
        return answer

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _assemble(
    folder: Path, tables: list[Table], deltas: list[tuple[Path, int, int]]
) -> dict[str, object]:
    if deltas:
        _apply(folder, tables, deltas)
        failpoints.hit("assembly.after_apply")
        _compact(folder)
    found = _walk(folder, tables)
    failpoints.hit("assembly.before_sync")
    sync_file(folder / DATA_FILE)
    sync_directory(folder)
    return found


def _walk(folder: Path, tables: list[Table]) -> dict[str, object]:
    """Read every entry of every table; raises `DataLoss` (``TRUNCATED``, ``KEY_ORDER``, ``MISSING``)."""
    entries: dict[str, int] = {}
    with (
        lmdb.open(
            str(folder),
            readonly=True,
            lock=False,
            create=False,
            max_dbs=len(Table) + 1,
        ) as environment,
    ):
        _check_size_of(environment, folder)
        handles = {
            table: environment.open_db(table.value.encode(), create=False) for table in tables
        }
        with environment.begin(buffers=True) as txn:
            for table, handle in handles.items():
                entries[table.value] = _walk_table(txn, table, handle)
            told: dict[str, object] = {"entries": entries}
            if Table.LOG in handles:
                seen = Transaction(txn, handles)
                with txn.cursor(handles[Table.LOG]) as cursor:
                    revision = int.from_bytes(cursor.key(), "big") if cursor.last() else 0
                told |= {
                    "revision": revision,
                    "identity": identity_of(seen),
                    "log_head": log_head_of(seen, revision),
                }
    return told


def _check_size(folder: Path) -> None:
    with lmdb.open(str(folder), readonly=True, lock=False, create=False) as environment:
        _check_size_of(environment, folder)


def _check_size_of(environment: lmdb.Environment, folder: Path) -> None:
    """Raise `DataLoss` (``TRUNCATED``) for a file shorter than its meta page says."""
    needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    size = (folder / DATA_FILE).stat().st_size
    if size < needed:
        raise DataLoss(f"{size} bytes of {needed}", reason="TRUNCATED")


def _walk_table(txn: lmdb.Transaction, table: Table, handle: Any) -> int:
    found = 0
    last: bytes | None = None
    with txn.cursor(handle) as cursor:
        for key, value in cursor.iternext(keys=True, values=True):
            copied = bytes(key)
            if last is not None and copied <= last:
                raise DataLoss(f"keys of {table.value} are out of order", reason="KEY_ORDER")
            last = copied
            xxhash.xxh3_64_intdigest(value)  # touches every page of it
            found += 1
    counted = int(txn.stat(handle)["entries"])
    if counted != found:
        raise DataLoss(f"{table.value} has {found} entries of {counted}", reason="MISSING")
    return found


def _apply(folder: Path, tables: list[Table], deltas: list[tuple[Path, int, int]]) -> None:
    _check_size(folder)
    added = sum(path.stat().st_size for path, _, _ in deltas)
    size = (folder / DATA_FILE).stat().st_size
    # Not synced on the way: a crash discards all of it.
    with lmdb.open(
        str(folder),
        map_size=_MAP_TIMES * (size + added) + _ROOM_BYTES,
        max_dbs=len(Table) + 1,
        create=False,
        sync=False,
        lock=False,
    ) as environment:
        handles = {
            table: environment.open_db(table.value.encode(), create=False) for table in tables
        }
        for path, first, last in deltas:
            changes = iter(read_delta(path, first, last))
            more = True
            while more:
                with environment.begin(write=True) as txn:
                    more = _apply_some(txn, handles, changes)


def _apply_some(txn: lmdb.Transaction, handles: dict[Table, Any], changes: Any) -> bool:
    """Apply changes up to a commit's worth; whether there may be more."""
    written = 0
    for change in changes:
        handle = handles[change.table]
        if isinstance(change, Delete):
            _delete(txn, handle, change.prefix)
        else:
            txn.put(change.key, change.value, db=handle)
            written += len(change.key) + len(change.value)
            if written >= _COMMIT_BYTES:
                return True
    return False


def _delete(txn: lmdb.Transaction, handle: Any, prefix: bytes) -> None:
    if not prefix:
        txn.drop(handle, delete=False)
        return
    with txn.cursor(handle) as cursor:
        found = cursor.set_range(prefix)
        while found and bytes(cursor.key()).startswith(prefix):
            cursor.delete()
            found = cursor.set_range(prefix)


def _compact(folder: Path) -> None:
    """Leave out the free pages: what was deleted stands in them."""
    compacted = folder / "compacted"
    compacted.mkdir(mode=0o700)
    with lmdb.open(
        str(folder), readonly=True, lock=False, create=False, max_dbs=len(Table) + 1
    ) as environment:
        environment.copy(str(compacted), compact=True)
    (compacted / DATA_FILE).chmod(0o600)
    (compacted / DATA_FILE).rename(folder / DATA_FILE)
    compacted.rmdir()


def _reason(error: lmdb.Error) -> str:
    if told_full(error):
        return _DISK_FULL
    return _IO_FAILED if os.strerror(errno.EIO) in str(error) else "BAD_ENVIRONMENT"


def main() -> int:
    """Do jobs until the end of the input."""
    for line in sys.stdin:
        job = json.loads(line)
        try:
            answer = _assemble(
                Path(job["folder"]),
                [Table(name) for name in job["tables"]],
                [(Path(path), first, last) for path, first, last in job["deltas"]],
            )
        except DataLoss as error:
            answer = {"error": error.reason, "what": error.message}
        except lmdb.DiskError as error:
            answer = {"error": _DISK_FULL, "what": str(error)}
        except OSError as error:
            # Of the system, and not of what lies there: every byte was compared with its checksum before.
            reason = _DISK_FULL if error.errno in FULL else _IO_FAILED
            answer = {"error": reason, "what": f"cannot be made: {error.strerror}"}
        except (MemoryError, lmdb.MemoryError):
            answer = {"error": _IO_FAILED, "what": f"cannot be made: {os.strerror(errno.ENOMEM)}"}
        except lmdb.Error as error:
            answer = {"error": _reason(error), "what": f"cannot be read: {error}"}
        print(json.dumps(answer), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
