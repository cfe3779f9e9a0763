"""ClipService: writing and reading clips."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

from memdb.engine.hydrate import Parts, clip_bytes
from memdb.engine.user import EmbeddedUser
from memdb.errors import InvalidArgument, MemdbError
from memdb.server.answers import Sender
from memdb.server.ingest import Ingest
from memdb.server.methods import ReceiveClips, commits, reads_clips
from memdb.server.resources import Resources
from memdb.types.arguments import checked_clip_ids
from memdb.types.clip import StoredClip
from memdb.types.gap_page import checked_gap_page
from memdb.types.limits import BATCH_OPERATIONS_MAX, LIMIT_MAX
from memdb.v1 import clip_service_pb2 as pb
from memdb.wire.arrays import tensor_to_proto
from memdb.wire.clip_counts import count_clips_arguments
from memdb.wire.clips import (
    clip_from_proto,
    fill_ack,
    list_clips_arguments,
    stored_clip_to_proto,
)
from memdb.wire.label_counts import label_counts_to_proto, list_labels_arguments
from memdb.wire.moments import as_of_from_proto
from memdb.wire.streams import gap_from_proto, gap_to_proto, ledger_to_proto

CHUNK_BYTES_MAX: Final = 3 * 1024 * 1024
"""Clips of one answer message; below the 4 MiB that a client accepts by default, unless a single
clip is larger."""
PAGE_CLIPS: Final = 256
"""Clips read from the engine at once, unless they have `PAGE_BYTES` before."""
PAGE_GAPS: Final = 10_000
"""Gaps of one answer, 60 bytes each."""
PAGE_BYTES: Final = 6 * 1024 * 1024
"""So much a caller who reads no further makes the server hold; each page is a search for where it
begins."""


_Chunk = TypeVar("_Chunk", pb.ListClipsResponse, pb.GetClipsResponse)


class ClipService:
    """Clips of the users of a database."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._database = resources.database

    @commits
    def write_clips(self, request: pb.WriteClipsRequest) -> pb.WriteClipsResponse:
        """Store clips in as few commits as the limits allow."""
        if not request.clips:
            raise InvalidArgument("no clips", reason="EMPTY", field="clips")
        if len(request.clips) > BATCH_OPERATIONS_MAX:
            raise InvalidArgument(
                f"more than {BATCH_OPERATIONS_MAX} clips",
                reason="TOO_LARGE",
                field="clips",
                value=len(request.clips),
            )
        clips = [clip_from_proto(item) for item in request.clips]
        space = request.space if request.HasField("space") else None
        stream = self._user(request.user).stream(request.stream, space=space)
        response = pb.WriteClipsResponse()
        for outcome in stream.write_batch(clips):
            if isinstance(outcome, MemdbError):
                raise outcome
            fill_ack(response.acks.add(), outcome)
        return response

    @reads_clips
    async def ingest_clips(self, receive: ReceiveClips, send: Sender) -> None:
        """Store a stream of clips; see `memdb.server.ingest`."""
        await Ingest(self._resources).run(receive, send, send.ahead, send.lend)

    def get_clip(self, request: pb.GetClipRequest) -> pb.GetClipResponse:
        """One clip."""
        clip = self._user(request.user).clip(
            request.clip_id,
            as_of=as_of_from_proto(request.as_of, request.HasField("as_of")),
            with_short_memory=request.with_short_memory,
            raw_short_memory=True,
        )
        return pb.GetClipResponse(clip=stored_clip_to_proto(clip))

    def get_clips(self, request: pb.GetClipsRequest) -> Iterator[pb.GetClipsResponse]:
        """Clips by their ids, all as of one moment."""
        user = self._user(request.user)
        clip_ids = checked_clip_ids(request.clip_ids)
        # They are read page by page; a commit between two of them must not show.
        as_of = user.moment(as_of_from_proto(request.as_of, request.HasField("as_of")))
        parts = Parts(
            global_memory=not request.without_global_memory,
            keyframes=not request.without_keyframes,
            short_memory=request.with_short_memory,
            raw=True,
        )
        given = 0
        while given < len(clip_ids):
            page = user.clips_by_id(
                clip_ids, given, as_of=as_of, parts=parts, page_bytes=PAGE_BYTES
            )
            given += len(page)
            chunks = deque(_chunks(page, pb.GetClipsResponse))
            # Each goes as it is sent, and the clips before, as in `list_clips`.
            del page
            while chunks:
                yield chunks.popleft()

    def list_clips(self, request: pb.ListClipsRequest) -> Iterator[pb.ListClipsResponse]:
        """Clips of a range, all as of one moment."""
        user = self._user(request.user)
        arguments = list_clips_arguments(request)
        remaining = arguments["limit"]
        if arguments["as_of"] is None and 1 < remaining <= LIMIT_MAX:
            # Pages are read one by one; a commit between two of them must not show.
            arguments["as_of"] = max(user.revision(), arguments["min_revision"] or 0)
        while remaining > 0:
            # A limit beyond the maximum goes through as it is: the engine refuses it.
            arguments["limit"] = min(remaining, PAGE_CLIPS) if remaining <= LIMIT_MAX else remaining
            page = user.clips(**arguments, page_bytes=PAGE_BYTES)
            is_last = len(page) < arguments["limit"] and sum(map(clip_bytes, page)) < PAGE_BYTES
            remaining -= len(page)
            if page:
                arguments["after"] = page[-1].cursor
            chunks = deque(_chunks(page, pb.ListClipsResponse))
            # Each goes as it is sent, and the clips before: who does not read holds what is left.
            del page
            while chunks:
                yield chunks.popleft()
            if is_last:
                return

    def count_clips(self, request: pb.CountClipsRequest) -> pb.CountClipsResponse:
        """How many clips there are."""
        user = self._user(request.user)
        return pb.CountClipsResponse(clips=user.count_clips(**count_clips_arguments(request)))

    def list_labels(self, request: pb.ListLabelsRequest) -> pb.ListLabelsResponse:
        """Labels that clips have."""
        user = self._user(request.user)
        return label_counts_to_proto(user.labels(**list_labels_arguments(request)))

    def get_short_memory(
        self, request: pb.GetShortMemoryRequest
    ) -> Iterator[pb.GetShortMemoryResponse]:
        """Short-term memory of clips, one message each, all as of one moment."""
        user = self._user(request.user)
        clip_ids = checked_clip_ids(request.clip_ids)
        as_of = as_of_from_proto(request.as_of, request.HasField("as_of"))
        if len(clip_ids) > 1:
            as_of = user.moment(as_of)
        if not clip_ids:
            # Nothing to give; that there is such a user, and such a moment, is still checked.
            user.encoded_short_memory((), as_of=as_of)
        for index, clip_id in enumerate(clip_ids):
            (tensor,) = user.encoded_short_memory([clip_id], as_of=as_of, first=index)
            yield pb.GetShortMemoryResponse(clip_id=clip_id, short_memory=tensor_to_proto(tensor))

    def get_ledger(self, request: pb.GetLedgerRequest) -> pb.GetLedgerResponse:
        """What was received of an epoch."""
        ledger = self._user(request.user).stream(request.stream).ledger(epoch=request.epoch)
        return pb.GetLedgerResponse(ledger=ledger_to_proto(ledger))

    def list_gaps(self, request: pb.ListGapsRequest) -> pb.ListGapsResponse:
        """Missing clip numbers of a stream."""
        limit, after = checked_gap_page(
            request.limit or None,
            gap_from_proto(request.after) if request.HasField("after") else None,
        )
        user = self._user(request.user)
        as_of = as_of_from_proto(request.as_of, request.HasField("as_of"))
        if request.paged:
            # What a client asks for next is to be of the same moment.
            as_of = user.moment(as_of)
        page = user.stream(request.stream).gaps(
            start_ns=request.start_ns if request.HasField("start_ns") else None,
            end_ns=request.end_ns if request.HasField("end_ns") else None,
            as_of=as_of,
            limit=limit,
            after=after,
            page_max=PAGE_GAPS if request.paged else None,
        )
        return pb.ListGapsResponse(
            gaps=[gap_to_proto(gap) for gap in page],
            more=request.paged and len(page) == PAGE_GAPS != limit,
            revision=as_of if request.paged and isinstance(as_of, int) else None,
        )

    def _user(self, user_id: str) -> EmbeddedUser:
        return self._database.user(user_id)


def _chunks(clips: Sequence[StoredClip], kind: type[_Chunk]) -> Iterator[_Chunk]:
    chunk, size = kind(), 0
    for clip in clips:
        message = stored_clip_to_proto(clip)
        bytes_of_clip = message.ByteSize()
        if chunk.clips and size + bytes_of_clip > CHUNK_BYTES_MAX:
            yield chunk
            chunk, size = kind(), 0
        chunk.clips.append(message)
        size += bytes_of_clip
    if chunk.clips:
        yield chunk
