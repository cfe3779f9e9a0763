"""The embedded handle on one stream: `memdb.types.database.Stream`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from memdb.codecs.tensors import checked_clip, encoded
from memdb.engine import lateness, native
from memdb.engine.apply_clip import check_clip
from memdb.engine.apply_run import one_by_one
from memdb.engine.ingest import EmbeddedIngestWriter
from memdb.engine.passage import Passage
from memdb.engine.prepared_clips import filled, write_prepared
from memdb.engine.run_acks import Outcomes
from memdb.errors import InvalidArgument, MemdbError, NotFound
from memdb.store.content import content_hash
from memdb.types import limits
from memdb.types.arguments import checked_as_of, checked_times
from memdb.types.change import ErasureReport
from memdb.types.checks import check_int, check_iterable
from memdb.types.clip import Ack, Clip
from memdb.types.database import Stream
from memdb.types.documented import documented_by
from memdb.types.gap_page import checked_gap_page
from memdb.types.grounding import AsOf
from memdb.types.handle import Handle
from memdb.types.ids import check_id
from memdb.types.ingest import EMBEDDED_INGEST_WINDOW, INGEST_WINDOW_MAX
from memdb.types.operation import CreateStream, SetRetention, WriteClip, WriteRun
from memdb.types.plain_run import PlainRun
from memdb.types.retention import Retention, as_retention
from memdb.types.space import Space
from memdb.types.stream import Gap, Ledger, StreamInfo
from memdb.types.tensor import codec_named
from memdb.types.times import Time
from memdb.types.unchecked import maker
from memdb.types.zone import checked_zone

if TYPE_CHECKING:
    from memdb.engine.user import EmbeddedUser


_operation: Final = maker(WriteClip)


@documented_by(Stream)
class EmbeddedStream(Handle):
    """A handle; cheap, thread-safe."""

    def __init__(
        self, user: EmbeddedUser, name: str, space: str | None, codec: str | None = None
    ) -> None:
        self._user = user
        self._name = check_id(name, "stream")
        self._space = None if space is None else check_id(space, "space")
        self._codec = codec_named(codec)
        native.lend()  # here, since who makes a handle is about to make clips

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name} of {self._user.id}>"

    @property
    def user(self) -> EmbeddedUser:
        """Whose it is."""
        return self._user

    @property
    def name(self) -> str:
        return self._name

    def create(self, *, zone: str | None = None) -> StreamInfo:
        zone = None if zone is None else checked_zone(zone)
        space = self._wanted_space()
        operation = CreateStream(self._name, space, zone)
        try:
            return self._user.commit(operation, StreamInfo, create=space is not None)
        except NotFound as error:
            if error.reason in ("STREAM_NOT_FOUND", "USER_NOT_FOUND"):
                raise InvalidArgument(
                    "a new stream needs a space", reason="SPACE_REQUIRED", field="space"
                ) from error
            raise

    def write(self, clip: Clip) -> Ack:
        (ack,) = self.write_many([clip])
        return ack

    def write_many(self, clips: Iterable[Clip]) -> list[Ack]:
        checked = [checked_clip(clip) for clip in check_iterable(clips, "clips")]
        if not checked:
            return []
        acks: list[Ack] = []
        for outcome in self.write_batch(checked):
            if isinstance(outcome, MemdbError):
                raise outcome
            acks.append(outcome)
        return acks

    def write_batch(
        self,
        clips: Sequence[Clip | PlainRun],
        queued: Callable[[], None] | None = None,
        on_its_way: lateness.Newest = lateness.NOTHING,
        passages: Sequence[Passage] = (),
    ) -> Outcomes:
        """Store clips; blocks until they are durable and searchable.  An acknowledgement or error
        for each, in order, also for each of a run.

        queued, on_its_way, passages: see `memdb.engine.prepared_clips`.

        Raises what refuses the whole batch: `NotFound` (``SPACE_NOT_FOUND``), `ResourceExhausted`,
        `Unavailable`; where the user is not there yet, what refuses its first clip.
        """
        operations, refusals = self.prepare_all(clips)
        return filled(refusals, self.write_prepared(operations, queued, on_its_way, passages))

    def prepare_all(
        self, clips: Sequence[Clip | PlainRun]
    ) -> tuple[list[WriteClip | WriteRun], list[MemdbError | None]]:
        """`prepare` for clips: the operations of those that can be written, and for each clip why it
        cannot, None where it can.

        Raises `NotFound` (``SPACE_NOT_FOUND``).
        """
        wanted = self._wanted_space()
        operations: list[WriteClip | WriteRun] = []
        refusals: list[MemdbError | None] = []
        for clip in clips:
            if not isinstance(clip, Clip):
                operations.append(WriteRun(self._name, wanted, clip))
                refusals += [None] * len(clip)
                continue
            try:
                operations.append(self._write_clip(wanted, clip))
                refusals.append(None)
            except MemdbError as error:
                refusals.append(error)
        return operations, refusals

    def prepare(self, clip: Clip) -> WriteClip:
        """The operation that writes a clip that `checked_clip` passed: its short-term memory coded,
        its content hashed.

        Raises `InvalidArgument`, `NotFound` (``SPACE_NOT_FOUND``).
        """
        return self._write_clip(self._wanted_space(), clip)

    def write_prepared(
        self,
        operations: Sequence[WriteClip | WriteRun],
        queued: Callable[[], None] | None = None,
        on_its_way: lateness.Newest = lateness.NOTHING,
        passages: Sequence[Passage] = (),
    ) -> Outcomes:
        """`write_batch` for clips that `prepare` made operations of.

        queued, on_its_way, passages: see `memdb.engine.prepared_clips`.
        """
        if not operations:
            return Outcomes(())
        if not self._user.is_known():
            operations = one_by_one(operations)
            self._check_first_write(operations[0])
        return write_prepared(self._user, operations, queued, on_its_way, passages)

    def ingest(self, *, epoch: int = 0, window: int | None = None) -> EmbeddedIngestWriter:
        return EmbeddedIngestWriter(
            self,
            check_int(epoch, "epoch", 0, limits.EPOCH_MAX),
            EMBEDDED_INGEST_WINDOW
            if window is None
            else check_int(window, "window", 1, INGEST_WINDOW_MAX),
        )

    def set_retention(self, retention: Retention | None) -> None:
        self._user.commit(SetRetention(self._name, as_retention(retention)), int)

    def retention(self) -> Retention:
        with self._user.memory() as memory:
            view = memory.view
        view.stream_nos((self._name,), field="stream")  # raises for a stream that is not there
        stream_no = view.state.streams[self._name].no
        policy: Retention = view.state.retention.get(stream_no, Retention())
        return policy

    def erase(self, *, start_ns: Time | None = None, end_ns: Time | None = None) -> ErasureReport:
        if start_ns is None and end_ns is None:
            return self._user.erase_stream(self._name)
        return self._user.erase_clips(stream=self._name, start_ns=start_ns, end_ns=end_ns)

    def ledger(self, *, epoch: int = 0) -> Ledger:
        epoch = check_int(epoch, "epoch", 0, limits.EPOCH_MAX)
        try:
            with self._user.memory() as memory:
                view = memory.view
        except NotFound:
            return Ledger(self._name, epoch, 0, 0, None, None, ())
        stream = view.state.streams.get(self._name)
        coverage = None if stream is None else view.coverage.find(stream.no, epoch)
        if stream is None or coverage is None:
            return Ledger(self._name, epoch, 0, 0, None, None, ())
        return Ledger(
            self._name,
            epoch,
            view.quarantine.free_seq(stream.no, epoch, coverage.sealed_seq + 1),
            coverage.clips,
            coverage.first_start_ns,
            coverage.sealed_end_ns,
            tuple(view.epoch_gaps(stream, epoch, coverage)),
        )

    def gaps(
        self,
        *,
        start_ns: Time | None = None,
        end_ns: Time | None = None,
        as_of: AsOf | None = None,
        limit: int | None = None,
        after: Gap | None = None,
        page_max: int | None = None,
    ) -> list[Gap]:
        limit, after = checked_gap_page(limit, after)
        if page_max is not None:
            limit = min(limit or page_max, page_max)
        start, end = checked_times(start_ns, end_ns)
        as_of = checked_as_of(as_of)
        with self._user.memory() as memory:
            view = memory.view
            revision = memory.resolve(view, as_of)
            view.stream_nos((self._name,), revision, "stream")
            return view.gap_page(
                view.state.streams[self._name],
                view.revision if revision is None else revision,
                start,
                end,
                limit,
                after,
            )

    def _wanted_space(self) -> Space | None:
        return None if self._space is None else self._user.catalog_space(self._space)

    def _write_clip(self, space: Space | None, clip: Clip) -> WriteClip:
        tensor = encoded(clip, self._codec)
        return _operation(self._name, space, clip, tensor, content_hash(clip, tensor))

    def _check_first_write(self, operation: WriteClip) -> None:
        """A refused first write must not leave a user behind."""
        if operation.space is None:
            raise NotFound(
                "no such user; name the stream's space to create it",
                reason="USER_NOT_FOUND",
                field="user",
                value=self._user.id,
            )
        check_clip(operation.space, None, operation)
        refusal = lateness.too_far_ahead(operation.clip.seq, -1, self._user.seq_ahead_max)
        if refusal is not None:
            raise refusal
