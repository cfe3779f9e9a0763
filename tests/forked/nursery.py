"""Forks a process for each message on the socket that is its program's first argument."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.forked.births import born, ended, ended_after

MESSAGE_BYTES_MAX = 1 << 20


def fork_for_each(
    live: Callable[..., int],
    descriptors: int,
    prepare: Callable[[dict[str, Any]], None] = lambda _: None,
) -> None:
    """Until nobody can ask any more.

    live: the life of a process, of the message and the ``descriptors`` that come with it; its exit status.  With them
    comes one more, where its process id is told, and its status when it is dead, with the seconds of processor that it
    took.  prepare: what to load for a message, in this process.
    """
    with socket.socket(fileno=int(sys.argv[1])) as asked:
        keepers: list[int] = []
        while True:
            message, fds, _, _ = socket.recv_fds(asked, MESSAGE_BYTES_MAX, descriptors + 1)
            keepers = [pid for pid in keepers if os.waitpid(pid, os.WNOHANG) == (0, 0)]
            if not message:
                break
            *given, told = fds
            wanted = json.loads(message)
            prepare(wanted)
            life = partial(_life, live, wanted, given, told)
            keepers.append(born(partial(_kept, life, asked.fileno(), given, told)))
            for fd in fds:
                os.close(fd)
    for pid in keepers:
        ended(pid)


def _kept(life: Callable[[], int], listening: int, given: list[int], told: int) -> int:
    """Between the two, so that each program is waited for as soon as it is dead."""
    os.close(listening)
    pid = born(life)
    for fd in given:
        os.close(fd)
    os.write(told, b"%d\n" % pid)
    os.write(told, b"%d %f\n" % ended_after(pid))
    return 0


def _life(live: Callable[..., int], asked: dict[str, Any], given: list[int], told: int) -> int:
    os.close(told)
    return live(asked, *given)
