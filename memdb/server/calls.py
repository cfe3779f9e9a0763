"""What an edge calls: a handler for every method of a service, by how it is written (`memdb.server.methods`).

Around each method is the same: the request id, what counts the call and its bytes, parsing, the thread it runs on, what
becomes of its errors (`memdb.server.lifecycle`), and the log.
"""

from __future__ import annotations

from typing import Final

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from memdb.server.answers import Answers
from memdb.server.edge import Handler, Kind
from memdb.server.methods import Method
from memdb.server.open_calls import HEALTH_CALLS_MAX, OpenCalls
from memdb.server.requests import Requests
from memdb.server.resources import Resources
from memdb.server.stream_calls import StreamCalls
from memdb.server.unary_calls import UnaryCalls

HEALTH: Final = "grpc.health.v1.Health"


class Calls:
    """Makes handlers of service objects."""

    def __init__(self, resources: Resources) -> None:
        answers = Answers(resources.budget, resources.message_bytes_max)
        self._pools = resources.pools
        requests = Requests(resources.pools, resources.openings)
        self._unary = UnaryCalls(resources, requests, answers)
        self._streams = StreamCalls(resources, requests, answers)
        self._open_calls = resources.open_calls
        self._health_calls = OpenCalls(HEALTH_CALLS_MAX)

    def handlers(self, service: ServiceDescriptor, implementation: object) -> list[Handler]:
        """A handler for every method of a service."""
        return [self._handler(descriptor, implementation) for descriptor in service.methods]

    def _handler(self, descriptor: MethodDescriptor, implementation: object) -> Handler:
        method = Method.of(descriptor, implementation, self._pools)
        if descriptor.client_streaming:
            behaviour = self._streams.both_ways(method)
            return Handler(method.name, Kind.BOTH_WAYS, behaviour, method.reads_clips)
        open_calls = self._open_calls
        if descriptor.containing_service.full_name == HEALTH:
            open_calls = self._health_calls
        if descriptor.server_streaming:
            streams = self._streams
            if method.on_loop:
                return Handler(method.name, Kind.ANSWERS, streams.on_loop(method, open_calls))
            return Handler(method.name, Kind.ANSWERS, streams.in_pool(method))
        unary = self._unary
        if method.on_loop:
            return Handler(method.name, Kind.UNARY, unary.on_loop(method, open_calls))
        return Handler(method.name, Kind.UNARY, unary.in_pool(method))
