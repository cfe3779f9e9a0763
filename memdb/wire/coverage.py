"""What of a stream was searched."""

from __future__ import annotations

from typing import Final

from memdb.types.coverage import StreamCoverage
from memdb.types.zone import UTC_ZONE
from memdb.v1 import grounding_service_pb2 as pb

_MISSING_MAX: Final = 2**64 - 1
"""More than a message can say are missing where two epochs or more lack nearly every number that there is."""


def coverage_to_proto(coverage: StreamCoverage) -> pb.StreamCoverage:
    """A coverage as a message."""
    return pb.StreamCoverage(
        stream=coverage.stream,
        clips=coverage.clips,
        zone=coverage.zone,
        start_ns=coverage.start_ns,
        end_ns=coverage.end_ns,
        hours=coverage.hours,
        stretches=[pb.HoursCovered(start_ns=s, end_ns=e) for s, e in coverage.stretches],
        missing=min(coverage.missing, _MISSING_MAX),
    )


def coverage_from_proto(message: pb.StreamCoverage) -> StreamCoverage:
    """The coverage of a message."""
    return StreamCoverage(
        message.stream,
        message.clips,
        message.zone or UTC_ZONE,
        message.start_ns if message.HasField("start_ns") else None,
        message.end_ns if message.HasField("end_ns") else None,
        message.hours,
        tuple((stretch.start_ns, stretch.end_ns) for stretch in message.stretches),
        message.missing,
    )
