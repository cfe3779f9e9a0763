"""A gRPC server as bytes and events: the native edge of memdb."""

from collections.abc import Iterable
from typing import Any

__version__: str
grpc_version: str

class Call:
    """A call, until one of `answer` and `finish` has ended it; for the thread that takes the events."""

    @property
    def method(self) -> int:
        """Its place among the methods that the server was told."""
    @property
    def deadline_ns(self) -> int:
        """Since 1970; the greatest 64-bit number where there is none."""
    @property
    def metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """What the caller sent ahead; bytes of keys that end with "-bin"."""
    @property
    def finished(self) -> bool:
        """Whether it was ended."""
    def read(self) -> None:
        """Ask for the next message of a stream: an event tells it. One at a time."""
    def write(self, message: bytes, /) -> None:
        """Send a message of a stream: an event tells when gRPC has taken it. One at a time."""
    def answer(self, message: bytes, trailers: Iterable[tuple[str, str | bytes]], /) -> None:
        """Send the one answer, and the end."""
    def finish(
        self, code: int, details: str, trailers: Iterable[tuple[str, str | bytes]], /
    ) -> None:
        """Send the end."""

class Server:
    """A server for some methods; what happens is told by `take`."""

    def __init__(
        self, options: list[tuple[str, int | str]], methods: list[tuple[str, bool]], calls_max: int
    ) -> None:
        """methods: "/package.Service/Method", and whether a call has one request."""
    @property
    def fd(self) -> int:
        """Readable while there are events."""
    def start(self, address: str, key_and_chain: tuple[bytes, bytes] | None) -> int:
        """Bind and serve; the port, 0 where gRPC could not bind."""
    def take(self) -> list[tuple[Any, ...]]:
        """Everything since the last time, in order: (kind, key, said), and of a call that came the call as well."""
    def shutdown(self, grace_s: float) -> None:
        """Take no new calls, let those that run end within the time, then cancel them; returns when all have ended."""
