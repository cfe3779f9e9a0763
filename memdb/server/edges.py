"""Which edge a server has: ``server.edge``."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Final

from memdb.config import ServerConfig
from memdb.errors import FailedPrecondition, InvalidArgument
from memdb.server.edge import Edge, Handler, Option
from memdb.server.grpc_edge import GrpcEdge

NATIVE_MODULE: Final = "memdb_edge"


def check_edge(config: ServerConfig) -> None:
    """Refuse an edge that cannot be had: raises as `make_edge`."""
    _is_native(config)


def make_edge(
    config: ServerConfig,
    handlers: Sequence[Handler],
    options: Sequence[Option],
    calls_max: int,
    services: Sequence[str],
) -> Edge:
    """The edge that the configuration names.

    Raises `FailedPrecondition` (``NO_NATIVE_EDGE``) where it is not installed, and `InvalidArgument` (``NOT_USED``) where
    reflection is asked of it.
    """
    if _is_native(config):
        # Loaded where it is wanted: it need not be there.
        from memdb.server.native_edge import NativeEdge  # noqa: PLC0415

        return NativeEdge(handlers, options, calls_max)
    return GrpcEdge(handlers, options, calls_max, services if config.reflection else ())


def _is_native(config: ServerConfig) -> bool:
    if config.edge == "python":
        return False
    is_there = find_spec(NATIVE_MODULE) is not None
    if config.edge == "auto":
        return is_there and not config.reflection
    if config.reflection:
        raise InvalidArgument(
            "the native edge does not describe its services: set server.edge to python",
            reason="NOT_USED",
            field="server.reflection",
            value=True,
        )
    if not is_there:
        raise FailedPrecondition(
            "the native edge is not installed: pip install ./edge, or set server.edge to auto",
            reason="NO_NATIVE_EDGE",
            field="server.edge",
            value=config.edge,
        )
    return True
