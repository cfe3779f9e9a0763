"""What gRPC calls: a handler for every method of a service, by how it is written (`memdb.server.methods`).

Around each method is the same: the request id, what counts the call and its bytes, parsing, the thread it runs on, what
becomes of its errors (`memdb.server.lifecycle`), and the log.
"""

from __future__ import annotations

from typing import Any, Final

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from memdb.server.answers import Answers
from memdb.server.methods import Method
from memdb.server.open_calls import HEALTH_CALLS_MAX, OpenCalls
from memdb.server.requests import Requests
from memdb.server.resources import Resources
from memdb.server.stream_calls import StreamCalls
from memdb.server.unary_calls import UnaryCalls

HEALTH: Final = "grpc.health.v1.Health"


class Calls:
    """Makes gRPC handlers of service objects."""

    def __init__(self, resources: Resources) -> None:
        answers = Answers(resources.budget, resources.message_bytes_max)
        self._pools = resources.pools
        requests = Requests(resources.pools, resources.openings)
        self._unary = UnaryCalls(resources, requests, answers)
        self._streams = StreamCalls(resources, requests, answers)
        self._open_calls = resources.open_calls
        self._health_calls = OpenCalls(HEALTH_CALLS_MAX)

    def handlers(self, service: ServiceDescriptor, implementation: object) -> dict[str, Any]:
        """A handler for every method of a service, by method name."""
        return {
            descriptor.name: self._handler(descriptor, implementation)
            for descriptor in service.methods
        }

    def _handler(
        self, descriptor: MethodDescriptor, implementation: object
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        method = Method.of(descriptor, implementation, self._pools)
        open_calls = self._open_calls
        if descriptor.containing_service.full_name == HEALTH:
            open_calls = self._health_calls
        behaviour: Any
        if descriptor.client_streaming:
            behaviour = self._streams.both_ways(method)
            return grpc.stream_stream_rpc_method_handler(behaviour)
        calls = self._streams if descriptor.server_streaming else self._unary
        behaviour = calls.on_loop(method, open_calls) if method.on_loop else calls.in_pool(method)
        if descriptor.server_streaming:
            return grpc.unary_stream_rpc_method_handler(behaviour)
        return grpc.unary_unary_rpc_method_handler(behaviour)
