"""The edge that is always there: gRPC's asyncio server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import groupby
from typing import Any, Final

import grpc

from memdb.server.edge import CallerLeft, Certificate, Handler, Kind, Option

_MAKERS: Final[dict[Kind, Callable[[Any], grpc.RpcMethodHandler[bytes, bytes]]]] = {
    Kind.UNARY: grpc.unary_unary_rpc_method_handler,
    Kind.ANSWERS: grpc.unary_stream_rpc_method_handler,
    Kind.BOTH_WAYS: grpc.stream_stream_rpc_method_handler,
}


class _Stream:
    """A call that sends or takes a stream, as its handler sees it: `memdb.server.edge.Context`."""

    def __init__(self, context: Any) -> None:
        """context: a `grpc.aio.ServicerContext`, whose own all else is; it looks at a status code's number alone."""
        self._context = context
        self.invocation_metadata = context.invocation_metadata
        self.set_trailing_metadata = context.set_trailing_metadata
        self.add_done_callback = context.add_done_callback
        self.time_remaining = context.time_remaining
        self.abort = context.abort

    async def read(self) -> bytes | None:
        message: Any = await self._context.read()
        return None if message is grpc.aio.EOF else message

    async def write(self, message: bytes) -> None:
        try:
            await self._context.write(message)
        except grpc.aio.BaseError as error:
            raise CallerLeft from error


def _behaviour(handler: Handler) -> Callable[[Any, Any], Awaitable[Any]]:
    """What gRPC calls; of one answer it is the handler itself, which neither reads nor writes."""
    if handler.kind is Kind.UNARY:
        return handler.behaviour

    async def behaviour(request: Any, context: Any) -> None:
        await handler.behaviour(request, _Stream(context))

    return behaviour


class GrpcEdge:
    """`grpc.aio.server` with the handlers."""

    name = "python"

    def __init__(
        self,
        handlers: Iterable[Handler],
        options: Sequence[Option],
        calls_max: int,
        reflected: Sequence[str] = (),
    ) -> None:
        """reflected: the services that server reflection tells of; none without it."""
        self._server = grpc.aio.server(options=list(options), maximum_concurrent_rpcs=calls_max)
        for service, members in groupby(handlers, lambda each: each.name.partition("/")[0]):
            methods = {
                each.name.partition("/")[2]: _MAKERS[each.kind](_behaviour(each))
                for each in members
            }
            handler = grpc.method_handlers_generic_handler(service, methods)
            self._server.add_generic_rpc_handlers((handler,))
        if reflected:
            # Loaded by those who want it: it takes 6 % of the time that a start imports for.
            from grpc_reflection.v1alpha import reflection  # noqa: PLC0415

            reflection.enable_server_reflection([*reflected, reflection.SERVICE_NAME], self._server)

    def bind(self, address: str, certificate: Certificate | None) -> int:
        """See `memdb.server.edge.Edge`."""
        if certificate is None:
            return self._server.add_insecure_port(address)
        credentials = grpc.ssl_server_credentials([(certificate.key, certificate.chain)])
        return self._server.add_secure_port(address, credentials)

    async def start(self) -> None:
        """See `memdb.server.edge.Edge`."""
        await self._server.start()

    async def stop(self, grace_s: float) -> None:
        """See `memdb.server.edge.Edge`."""
        await self._server.stop(grace_s)
