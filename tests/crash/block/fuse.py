"""A disk whose every write and flush is on record: a FUSE file system with two files, `IMAGE` and `MARK`.

The loop driver opens the image and makes a block device of it; what a program writes to the mark comes into the same
record, at its place.  This process serves one request after the other, so the record is in one order: by the time
that a flush is answered all writes before it are in it, and whoever wrote a mark after that flush comes after it.
The image is opened with ``FOPEN_DIRECT_IO``, so nothing is kept, merged or put off on the way; the loop driver works
off its requests one by one, hands on each flush as an fsync, and the kernel makes a flush of each forced write.

The protocol of ``/dev/fuse`` is spoken here, and not by a library: those of PyPI call libfuse, which a new machine
does not have, and for two files there are a dozen requests.

Where it is allowed to, the process tells the kernel that writes of others wait for it (``PR_SET_IO_FLUSHER``), so that
what it allocates never waits for this disk itself.  When it ends, however, what is asked of it fails, and nobody hangs.

    python -m tests.crash.block.fuse MOUNT_POINT IMAGE LOG

mounts, says ``mounted`` on standard output and serves until it is unmounted or killed.  IMAGE is the file with the
content, written through; LOG gets the record, see `tests.crash.block.log`.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import stat
import struct
import sys
from enum import IntEnum
from pathlib import Path
from typing import Final

from tests.crash.block.log import HEAD
from tests.crash.block.system import PR_SET_IO_FLUSHER, die_with_parent, leave_mounts, mount, prctl

IMAGE: Final = "image"
MARK: Final = "mark"
MAX_WRITE: Final = 1 << 20

_IN: Final = struct.Struct("<IIQQIIIHH")
_OUT: Final = struct.Struct("<IiQ")
_ATTR: Final = struct.Struct("<6Q10I")
_IO: Final = struct.Struct("<QQIIQII")
"""Of a read or a write: handle, offset, size, ..."""
_MAX_PAGES: Final = 1 << 22
_BIG_WRITES: Final = 1 << 5
_DIRECT_IO: Final = 1
_DAY_S: Final = 86400
_NODES: Final = {IMAGE: 2, MARK: 3}
_ROOT: Final = 1


class Op(IntEnum):
    """Requests."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    RELEASEDIR = 29
    INTERRUPT = 36
    DESTROY = 38
    BATCH_FORGET = 42


_UNANSWERED: Final = (Op.FORGET, Op.BATCH_FORGET, Op.INTERRUPT)


class Disk:
    """Answers requests, and records."""

    def __init__(self, fuse_fd: int, image_fd: int, log_fd: int) -> None:
        self._fuse_fd = fuse_fd
        self._log_fd = log_fd
        self._size = os.fstat(image_fd).st_size
        self._image = mmap.mmap(image_fd, self._size)
        self._request = bytearray(MAX_WRITE + mmap.PAGESIZE)

    def serve(self) -> None:
        """Until it is unmounted."""
        whole = memoryview(self._request)
        while True:
            try:
                size = os.readv(self._fuse_fd, [self._request])
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return
                if error.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):
                    continue  # taken back before it was read
                raise
            _, opcode, unique, node, *_ = _IN.unpack_from(self._request)
            if opcode in _UNANSWERED:
                continue
            answer = self._answer(opcode, node, whole[_IN.size : size])
            failed = answer if isinstance(answer, int) else 0
            body = b"" if isinstance(answer, int) else answer
            try:
                os.writev(self._fuse_fd, [_OUT.pack(_OUT.size + len(body), -failed, unique), body])
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENODEV):
                    raise
            if opcode == Op.DESTROY:
                return

    def _answer(self, opcode: int, node: int, body: memoryview) -> bytes | int:
        """The body of the answer, or the number of an error."""
        match opcode:
            case Op.WRITE:
                return self._written(node, body)
            case Op.READ:
                _, offset, size, *_ = _IO.unpack_from(body)
                return self._image[offset : offset + size] if node == _NODES[IMAGE] else b""
            case Op.FSYNC:
                if node == _NODES[IMAGE]:
                    self._record(b"S", 0, b"")
                return b""
            case Op.INIT:
                return self._agreed(body)
            case Op.LOOKUP:
                found = _NODES.get(bytes(body).rstrip(b"\0").decode())
                if found is None:
                    return errno.ENOENT
                return struct.pack("<QQQQII", found, 0, _DAY_S, _DAY_S, 0, 0) + self._attributes(
                    found
                )
            case Op.GETATTR | Op.SETATTR:  # nothing is ever cut
                return struct.pack("<QII", _DAY_S, 0, 0) + self._attributes(node)
            case Op.OPEN | Op.OPENDIR:
                return struct.pack("<QIi", 0, 0 if node == _ROOT else _DIRECT_IO, 0)
            case Op.STATFS:
                return struct.pack("<5Q4I24x", 1 << 20, 1 << 19, 1 << 19, 3, 0, 4096, 255, 4096, 0)
            case Op.RELEASE | Op.FLUSH | Op.RELEASEDIR | Op.DESTROY:
                return b""
        return errno.ENOSYS

    def _agreed(self, body: memoryview) -> bytes:
        major, minor, readahead, offered = struct.unpack_from("<4I", body)
        assert (major, minor) >= (7, 31), f"FUSE {major}.{minor}"
        pages = MAX_WRITE // mmap.PAGESIZE
        flags = offered & (_MAX_PAGES | _BIG_WRITES)
        return struct.pack("<4IHHIIHH32x", 7, 31, readahead, flags, 12, 9, MAX_WRITE, 1, pages, 0)

    def _attributes(self, node: int) -> bytes:
        mode = stat.S_IFDIR | 0o700 if node == _ROOT else stat.S_IFREG | 0o600
        size = self._size if node == _NODES[IMAGE] else 0
        return _ATTR.pack(node, size, size // 512, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)

    def _written(self, node: int, body: memoryview) -> bytes | int:
        _, offset, size, *_ = _IO.unpack_from(body)
        data = body[_IO.size : _IO.size + size]
        if node == _NODES[MARK]:
            self._record(b"!", 0, data)
        elif node == _NODES[IMAGE] and offset + size <= self._size:
            self._record(b"W", offset, data)
            self._image[offset : offset + size] = data
        else:
            return errno.ENOSPC
        return struct.pack("<II", size, 0)

    def _record(self, kind: bytes, offset: int, data: memoryview | bytes) -> None:
        head = HEAD.pack(kind, offset, len(data))
        written = os.writev(self._log_fd, [head, data])
        assert written == len(head) + len(data), "the record is cut"


def main() -> None:
    die_with_parent()
    with contextlib.suppress(
        PermissionError
    ):  # CAP_SYS_RESOURCE; without it only a machine out of memory differs
        prctl(PR_SET_IO_FLUSHER, 1)
    mount_point, image, log = sys.argv[1:]
    fuse_fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    image_fd = os.open(image, os.O_RDWR | os.O_CLOEXEC)
    log_fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    mount(
        "memdb-block",
        Path(mount_point),
        "fuse",
        f"fd={fuse_fd},rootmode=40000,user_id=0,group_id=0",
    )
    # What is mounted on this disk from here on must not be this process's to unmount: were it killed with all others
    # and ended last, it would wait in its own exit for what it answers no more, and nothing could end it.
    leave_mounts()
    os.write(1, b"mounted\n")
    Disk(fuse_fd, image_fd, log_fd).serve()


if __name__ == "__main__":
    main()
