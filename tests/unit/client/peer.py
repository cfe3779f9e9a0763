"""A gRPC peer that goes wrong on command: a real server of the ingest and of a few calls, with
the faults of a script.

It keeps a ledger as memdb does (number and content), so that what a client repeats after a fault
is seen as such.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any, Self, cast

import grpc

from memdb.errors import InvalidArgument, MemdbError, ResourceExhausted
from memdb.v1 import (
    clip_service_pb2,
    clip_service_pb2_grpc,
    memory_service_pb2,
    memory_service_pb2_grpc,
    user_service_pb2,
    user_service_pb2_grpc,
)
from memdb.wire.status import code_of, error_to_trailers


@dataclass
class Script:
    """What the peer holds and where it fails; shared by the peers of one test, as a disk would
    be.
    """

    stored: dict[int, bytes] = field(default_factory=dict)
    """Content of each clip by number."""
    received: list[int] = field(default_factory=list)
    """Every number that arrived, in order."""
    duplicates: int = 0
    drop_after: list[int] = field(default_factory=list)
    """Break the call before acknowledging this many-th clip of it; one entry a call."""
    refuse_seq: int | None = None
    full: threading.Event = field(default_factory=threading.Event)
    """While set, there is no room for clips."""
    error: MemdbError | None = None
    """Answer every unary call with this error, ``failures`` times."""
    failures: int = 0
    calls: int = 0
    metadata: list[dict[str, str | bytes]] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)
    """While set, nothing is acknowledged."""
    watch_breaks: int = 0
    watches: list[user_service_pb2.WatchUserRequest] = field(default_factory=list)
    """What was asked, in order."""
    made_anew: bool = False
    """Whether the user is another when a watch of it broke: its commits have another time."""
    commit_ns: int = 1
    revisions: int = 5
    """Commits that there are."""
    live_watches: int = 0


class _Clips(clip_service_pb2_grpc.ClipServiceServicer):
    def __init__(self, script: Script) -> None:
        self._script = script

    def IngestClips(
        self, request_iterator: Iterator[clip_service_pb2.IngestClipsRequest], context: Any
    ) -> Iterator[clip_service_pb2.IngestClipsResponse]:
        script = self._script
        script.calls += 1
        drop_after = script.drop_after.pop(0) if script.drop_after else None
        start = next(request_iterator).start
        yield clip_service_pb2.IngestClipsResponse(
            started=clip_service_pb2.Ledger(
                stream=start.stream, next_seq=max(script.stored, default=-1) + 1
            )
        )
        clips = (clip for request in request_iterator for clip in request.clips)
        for count, clip in enumerate(clips, 1):
            script.received.append(clip.seq)
            if script.full.is_set():
                _fail(context, ResourceExhausted("no room", reason="DISK_FULL"))
            if clip.seq == script.refuse_seq:
                _fail(context, InvalidArgument("refused", reason="DIM_MISMATCH", field="clip"))
            content = clip.SerializeToString(deterministic=True)
            duplicate = clip.seq in script.stored
            assert script.stored.setdefault(clip.seq, content) == content
            script.duplicates += duplicate
            if count == drop_after:
                # Stored, and the answer is lost.
                context.abort(grpc.StatusCode.UNAVAILABLE, "connection reset")
            while script.hold.is_set() and context.is_active():
                _sleep()
            ack = clip_service_pb2.ClipAck(
                clip_id=f"{clip.seq:032x}", revision=clip.seq + 1, duplicate=duplicate
            )
            yield clip_service_pb2.IngestClipsResponse(acks=clip_service_pb2.IngestAcks(acks=[ack]))

    def GetLedger(self, request: clip_service_pb2.GetLedgerRequest, context: Any) -> Any:
        _count(self._script, context)
        return clip_service_pb2.GetLedgerResponse(
            ledger=clip_service_pb2.Ledger(stream=request.stream, next_seq=7)
        )


class _Memories(memory_service_pb2_grpc.MemoryServiceServicer):
    def __init__(self, script: Script) -> None:
        self._script = script

    def PutValue(self, request: memory_service_pb2.PutValueRequest, context: Any) -> Any:
        _count(self._script, context)
        return memory_service_pb2.PutValueResponse(revision=1)


class _Users(user_service_pb2_grpc.UserServiceServicer):
    def __init__(self, script: Script) -> None:
        self._script = script

    def WatchUser(
        self, request: user_service_pb2.WatchUserRequest, context: Any
    ) -> Iterator[user_service_pb2.WatchUserResponse]:
        """Commits of two changes each; breaks in the middle of the third, ``watch_breaks``
        times.
        """
        script = self._script
        script.calls += 1
        script.watches.append(request)
        script.live_watches += 1
        context.add_callback(lambda: setattr(script, "live_watches", script.live_watches - 1))
        revision = request.from_revision
        while revision < script.revisions or (request.follow and context.is_active()):
            if revision == script.revisions:
                _sleep()
                continue
            revision += 1
            for index in (0, 1):
                if (revision, index) == (3, 1) and script.watch_breaks:
                    script.watch_breaks -= 1
                    script.commit_ns += script.made_anew
                    context.abort(grpc.StatusCode.UNAVAILABLE, "going away")
                change = user_service_pb2.Change(
                    revision=revision,
                    index=index,
                    time_ns=script.commit_ns,
                    kind="value",
                    key=f"{revision}.{index}",
                )
                yield user_service_pb2.WatchUserResponse(changes=[change])


class Peer:
    """A running server on loopback."""

    def __init__(self, script: Script, port: int = 0) -> None:
        options = (
            ("grpc.max_receive_message_length", 16 << 20),
            ("grpc.so_reuseport", 0),
        )
        self._server = grpc.server(futures.ThreadPoolExecutor(8), options=options)
        # Typed as abstract, though what is left out answers UNIMPLEMENTED.
        clips, memories, users = (cast(Any, kind)(script) for kind in (_Clips, _Memories, _Users))
        clip_service_pb2_grpc.add_ClipServiceServicer_to_server(clips, self._server)
        memory_service_pb2_grpc.add_MemoryServiceServicer_to_server(memories, self._server)
        user_service_pb2_grpc.add_UserServiceServicer_to_server(users, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        self._server.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def stop(self) -> None:
        """Break every call and go away."""
        self._server.stop(None).wait(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()


def _count(script: Script, context: Any) -> None:
    script.calls += 1
    script.metadata.append(dict(context.invocation_metadata()))
    if script.failures and script.error is not None:
        script.failures -= 1
        _fail(context, script.error)


def _fail(context: Any, error: MemdbError) -> None:
    context.set_trailing_metadata(error_to_trailers(error, "req-1"))
    context.abort(grpc.StatusCode[code_of(error).name], error.message)


def _sleep() -> None:
    threading.Event().wait(0.005)
