"""A program of the crash tests, forked from a process that has loaded memdb (`tests.crash.program_nursery`): what
`subprocess.Popen` is to one that is started.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import IO

from tests.forked.process import Forked, nursery_of


class ForkedProgram(Forked):
    """Under way."""

    stdin: None = None

    def __init__(
        self, module: str, arguments: Sequence[str], environment: Mapping[str, str]
    ) -> None:
        asked = {"module": module, "arguments": list(arguments), "environment": dict(environment)}
        pipes = [os.pipe() for _ in range(2)]
        try:
            # A library that is loaded before all others is one of the process that they come from.
            nursery = nursery_of("tests.crash.program_nursery", environment.get("LD_PRELOAD", ""))
            super().__init__([module, *arguments], nursery, asked, *(end for _, end in pipes))
        finally:
            for _, end in pipes:
                os.close(end)
        self.stdout: IO[bytes]
        self.stderr: IO[bytes]
        self.stdout, self.stderr = (os.fdopen(end, "rb") for end, _ in pipes)


def run_program(
    module: str, *arguments: str, timeout_s: float = 300.0, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; what it prints has to fit into a pipe."""
    program = ForkedProgram(module, arguments, {**os.environ, **environment})
    with program.stdout, program.stderr:
        try:
            status = program.wait(timeout_s)
            said, warned = program.stdout.read(), program.stderr.read()
        finally:
            program.send_signal(signal.SIGKILL)
    sys.stderr.buffer.write(warned)
    return subprocess.CompletedProcess(program.args, status, said.decode())
