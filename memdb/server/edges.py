"""Which edge a server has: ``server.edge``."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Final

from memdb.config import ServerConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.errors import FailedPrecondition, InvalidArgument
from memdb.native import is_installed, why_absent
from memdb.server.edge import Edge, Handler, Option

if TYPE_CHECKING:
    from memdb.server.shelf import Shelf


EDGE_BYTES_MIN: Final = 64 * 1024 * 1024
"""What the native edge may hold of what comes in, however small `ServerConfig.bytes_in_flight_max` is: gRPC counts what
connections read into as well, of each some 64 KiB, and where it has too little it ends connections, of other peers too.
"""


def check_edge(config: ServerConfig) -> None:
    """Refuse an edge that cannot be had: raises as `make_edge`."""
    _is_native(config)


def load_edge(config: ServerConfig) -> None:
    """Load what `make_shelf` and `make_edge` load, for who calls them later and has no time then."""
    names = ("native_edge", "shelf") if _is_native(config) else ("grpc_edge",)
    for name in names:
        import_module(f"memdb.server.{name}")


def make_shelf(config: ServerConfig, database: EmbeddedDatabase) -> Shelf | None:
    """What the edge answers by without Python, where it is native.  Raises as `make_edge`."""
    if not _is_native(config):
        return None
    from memdb.server.shelf import shelf_of  # noqa: PLC0415 - the native edge need not be there

    return shelf_of(database, config.message_bytes_max)


def make_edge(
    config: ServerConfig,
    handlers: Sequence[Handler],
    options: Sequence[Option],
    calls_max: int,
    services: Sequence[str],
    shelf: Shelf | None,
) -> Edge:
    """The edge that the configuration names.

    services: what server reflection tells of.

    Raises `FailedPrecondition` (``NO_NATIVE_EDGE``) where it is not installed, and `InvalidArgument` (``NOT_USED``)
    where reflection is asked of it.
    """
    if _is_native(config):
        from memdb.server.native_edge import NativeEdge  # noqa: PLC0415 - as above

        native = None if shelf is None else shelf.native
        memory_max = max(config.bytes_in_flight_max, EDGE_BYTES_MIN)
        return NativeEdge(handlers, options, calls_max, native, memory_max)
    # Python's gRPC, which the other does without.
    from memdb.server.grpc_edge import GrpcEdge  # noqa: PLC0415

    return GrpcEdge(handlers, options, calls_max, services if config.reflection else ())


def why_python(config: ServerConfig) -> str | None:
    """Why a server that may have the native edge has none, for people; None where it has, or nobody wants it."""
    if config.edge != "auto":
        return None
    if config.reflection:
        return "server.reflection is asked for"
    if config.tls_cert:
        return "TLS is, which the newer gRPC is for: server.edge = native takes it all the same"
    return why_absent()


def _is_native(config: ServerConfig) -> bool:
    if config.edge == "python":
        return False
    if config.edge == "auto":
        # Strangers reach a server with TLS: for them the gRPC that is the newer one, unless somebody says otherwise.
        return why_python(config) is None
    if config.reflection:
        raise InvalidArgument(
            "the native edge does not describe its services: set server.edge to python",
            reason="NOT_USED",
            field="server.reflection",
            value=True,
        )
    if not is_installed():
        raise FailedPrecondition(
            f"there is no native edge, and server.edge is not auto: {why_absent()}",
            reason="NO_NATIVE_EDGE",
            field="server.edge",
            value=config.edge,
        )
    return True
