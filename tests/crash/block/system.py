"""Calls of the system that Python has no function for: mounts, loop devices, what a process is to the kernel."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import signal
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PR_SET_PDEATHSIG: Final = 1
PR_SET_IO_FLUSHER: Final = 57
_MNT_DETACH: Final = 2
_CLONE_NEWNS: Final = 0x20000
_MS_NOSUID_NODEV_NOATIME: Final = 2 | 4 | 1024
_LOOP_CTL_GET_FREE: Final = 0x4C82
_LOOP_CONFIGURE: Final = 0x4C0A
_LO_FLAGS_AUTOCLEAR: Final = 4
_LOOP_GET_STATUS64: Final = 0x4C05
_STATUS_BYTES: Final = 232
_CONFIG_BYTES: Final = 304
_FLAGS_AT: Final = 8 + 52
"""Of ``lo_flags`` in ``struct loop_config``."""

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def prctl(option: int, value: int) -> None:
    """prctl(2); raises `OSError`."""
    _checked(_libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0), f"prctl {option}")


def die_with_parent() -> None:
    """Have this process killed when the thread that started it ends."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def mount(source: str, target: Path, kind: str, options: str = "") -> None:
    """mount(2); raises `OSError`."""
    _checked(
        _libc.mount(
            os.fsencode(source),
            os.fsencode(target),
            kind.encode(),
            ctypes.c_ulong(_MS_NOSUID_NODEV_NOATIME),
            options.encode(),
        ),
        f"mount of {kind} {options}",
    )


def leave_mounts() -> None:
    """Have mounts of this process's own, a copy of what is there now; raises `OSError`."""
    _checked(_libc.unshare(_CLONE_NEWNS), "unshare")


def unmount(target: Path, *, lazily: bool = False) -> None:
    """umount2(2); raises `OSError`, EBUSY where a process has something there."""
    _checked(_libc.umount2(os.fsencode(target), _MNT_DETACH if lazily else 0), f"umount {target}")


@contextlib.contextmanager
def loop_device(image: Path) -> Iterator[str]:
    """A block device whose content is a file, until the block and every mount of it have ended; or the process."""
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    backing = os.open(image, os.O_RDWR | os.O_CLOEXEC)
    try:
        path, device = _attached(control, backing)
    finally:
        os.close(backing)
        os.close(control)
    try:
        yield path
    finally:
        os.close(device)


def _attached(control: int, backing: int) -> tuple[str, int]:
    config = bytearray(_CONFIG_BYTES)
    struct.pack_into("<I", config, 0, backing)
    struct.pack_into("<I", config, _FLAGS_AT, _LO_FLAGS_AUTOCLEAR)
    for _ in range(100):
        path = f"/dev/loop{fcntl.ioctl(control, _LOOP_CTL_GET_FREE)}"
        device = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.ioctl(device, _LOOP_CONFIGURE, config)
        except OSError as error:
            os.close(device)
            if error.errno != errno.EBUSY:
                raise
            continue  # another took it meanwhile
        return path, device
    raise OSError(errno.EBUSY, "no loop device is free")


def loop_backing(path: str) -> tuple[int, int] | None:
    """Device and inode of the file behind a loop device, None where there is none."""
    device = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        status = fcntl.ioctl(device, _LOOP_GET_STATUS64, bytes(_STATUS_BYTES))
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return None
    finally:
        os.close(device)
    found: tuple[int, int] = struct.unpack_from("<QQ", status)
    return found
