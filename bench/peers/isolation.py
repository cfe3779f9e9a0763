"""Networks and process tables apart: what an engine listens on, nobody else reaches; what it starts, ends with it.

A run in a network namespace that has only loopback cannot be reached from outside, even where a server binds every
address, nor call home.  When the first process of a process namespace is killed, so are all others in it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import struct
import subprocess
from functools import cache

VARIABLE = "MEMDB_BENCH_APART"
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 1


@cache
def prefix() -> tuple[str, ...]:
    """What to put before a command; empty where the machine does not allow it."""
    command = ("unshare", "--net", "--pid", "--fork", "--mount-proc", "--kill-child")
    for options in ((), ("--user", "--map-root-user")):
        tried = (command[0], *options, *command[1:])
        if shutil.which("unshare") and (
            subprocess.run([*tried, "true"], capture_output=True, check=False).returncode == 0
        ):
            return ("env", f"{VARIABLE}=1", *tried)
    return ()


def apart() -> bool:
    """Whether this process was started behind `prefix`."""
    return VARIABLE in os.environ


def raise_loopback() -> None:
    """Turn on the one network there is in a new namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14x", b"lo", 0)
        answer = fcntl.ioctl(any_socket, _GET_FLAGS, request)
        (flags,) = struct.unpack_from("H", answer, 16)
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sH14x", b"lo", flags | _UP))
