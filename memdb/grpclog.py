"""What gRPC's core writes to stderr by itself."""

from __future__ import annotations

import os


def silence_grpc() -> None:
    """Have it write nothing, unless the environment says otherwise: stderr of a command is one line of an
    error, and of a server JSON lines; what it would say comes back as an error anyhow.

    It looks once, when it is loaded: to be called before.  For programs of our own alone; a library leaves that to
    whoever uses it.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
