"""Several cameras and microphones at once: a pipeline each, sharing the encoder and the recogniser, resumed where
the ledger says.

Event time of a recorded medium is ``start + media time``; ``start`` is given, or the moment of the
first ingest.  A stream that has clips of the epoch goes on after them: its first clip tells the
start, the end of the last sealed clip tells where in the medium to go on, the ledger the next
number.  What is made then is exactly what an ingest without interruption makes (see
`perception.assembler`).  A live source cannot be resumed: each run of it is an epoch of its own,
numbered by the second it began, also where it went away and came back (`perception.comeback`).
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from memdb.errors import FailedPrecondition, InvalidArgument, MemdbError, NotFound, Unavailable
from memdb.text_encoder import TextEncoder, find_text_encoder
from memdb.types.clip import Clip
from memdb.types.database import Database, IngestWriter, User
from memdb.types.ids import check_id
from memdb.types.space import Space
from memdb.types.times import as_text
from perception.assembler import REVISE_EVERY, ClipAssembler
from perception.audio.listener import Listener
from perception.audio.vad import VoiceActivity
from perception.comeback import Comeback
from perception.compressors.pooled import PooledCompressor
from perception.draft import ClipContext
from perception.encoders.base import Encoder
from perception.errors import SourceNotFound, SourceUnreadable
from perception.patience import Patience, length
from perception.pipeline import Assembler, Pipeline, Progress
from perception.sound_assembler import SoundAssembler
from perception.sound_label import MEDIUM_LABEL
from perception.sources.base import NS_PER_S, Samples
from perception.sources.file import FileSource, may_appear
from perception.stall import StallWatch

PROGRESS_EVERY_S: Final = 2.0
LOOK_EVERY_S: Final = 0.5
"""Between two looks for acknowledgements that stay away."""
STOP_GRACE_S: Final = 5.0
"""After a stop, for a server that acknowledges nothing."""
WINDOW_CLIPS: Final = 32
"""Clips in flight per camera."""
SLIP_WAIT_S: Final = 60.0
"""For a camera that is there, and is only to be opened again."""
EARLIER_MAX: Final = 100
"""Epochs of one camera that a report has: one that comes and goes for months has many."""


@dataclass(frozen=True, slots=True)
class Camera:
    """A stream and where its pictures come from, or its sound where there are none."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Hearing:
    """What is needed to hear; shared by every camera."""

    network: VoiceActivity
    transcribe: Callable[[Samples], str]
    language: str | None = "en"


CODEC: Final = "delta"
"""What an agent takes where nobody chooses: cameras run for months, and a quarter of the bytes, on the wire as on
the disk, keeps the ranking of answers (docs/benchmarks.md has the figures).  A handle of the library that
is told nothing keeps what it is given to the bit instead."""


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """What all cameras of an agent have in common."""

    start_ns: int | None = None
    """Event time of media time 0; None for now."""
    epoch: int | None = None
    """None for 0, and for the second of the start where a source is live."""
    space_name: str | None = None
    """None for the encoder's own name of its space."""
    rate_hz: float = 1.0
    is_paced: bool = False
    """Read recorded media no faster than they play."""
    revise_every: int = REVISE_EVERY
    codec: str = CODEC
    """How short-term memory is coded, see `memdb.types.database.User.stream`."""
    zone: str | None = None
    """Time zone of the cameras, an IANA name; None for that which they have, UTC for new ones."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Of every clip, beside what is seen: `perception.draft.clip_labels`."""
    reconnect_s: float = 0.0
    """How long a live source that ended or broke off, or was not there at the start, is tried again, `math.inf` for
    ever; each time it answers begins an epoch.
    """
    server_wait_s: float = 0.0
    """How long a server that is away is waited for where an epoch begins, `math.inf` for ever; once it has begun, that
    is up to the writer.
    """


@dataclass(slots=True)
class CameraReport:
    """What became of one camera."""

    camera: str
    epoch: int
    resumed_from_seq: int
    start_ns: int
    """Event time of media time 0."""
    held_until_ns: int | None = None
    """Event time at which the clips end that the epoch held before; None where it held none."""
    note: str | None = None
    """What the caller should know although it is no error."""
    progress: Progress = field(default_factory=Progress)
    wall_s: float = 0.0
    error: BaseException | None = None
    earlier: list[CameraReport] = field(default_factory=list)
    """Of the epochs before this one, where a live source went away and came back: the newest
    `EARLIER_MAX`, oldest first.
    """


_Job = tuple[CameraReport, FileSource, Space, ClipContext, int]
"""A camera and from what media time on it is read."""


class IngestAgent:
    """Writes the clips of several cameras into one user's memory."""

    def __init__(
        self,
        database: Database,
        user_id: str,
        cameras: Sequence[Camera],
        encoder: Encoder | None,
        hearing: Hearing | None,
        options: IngestOptions | None = None,
        *,
        report_line: Callable[[str], None] | None = None,
        on_ack: Callable[[str, Clip], None] | None = None,
        open_writer: Callable[[str, str, int], IngestWriter] | None = None,
        abandon: Callable[[], None] | None = None,
    ) -> None:
        """Opens every source.

        encoder: of the pictures; may be None where there are none.  report_line: takes the progress
        lines; by default they go to stderr.  on_ack: takes the camera and each clip that is
        acknowledged, from the camera's thread.  open_writer: from stream, space and epoch; by default as
        the stream's handle does.  abandon: makes every call on the database fail, called after a stop
        where the server is away.  Raises `InvalidArgument` for a bad or doubled name,
        `SourceNotFound` and `SourceUnreadable`.
        """
        self._database = database
        self._user = database.user(check_id(user_id, "user"))
        self._cameras = tuple(cameras)
        self._encoder = encoder
        self._hearing = hearing
        self._options = options or IngestOptions()
        self._report_line = report_line or _to_stderr
        self._on_ack = on_ack
        self._open_writer = open_writer or self._plain_writer
        self._abandon = abandon
        self._sources, self._absent = open_sources(
            cameras,
            self._options.rate_hz,
            with_audio=hearing is not None,
            may_be_absent=self._options.reconnect_s > 0,
        )
        self._check_sounds()
        self._space: Space | None = None
        """Of the pictures, where there may be any."""
        self._text_encoder: TextEncoder | None = None
        self._pipelines: dict[str, Pipeline] = {}
        self._stopping = threading.Event()
        self._stopped_s: float | None = None
        self._patience = Patience(self._options.server_wait_s, self._stopping, self._report_line)

    def run(self) -> list[CameraReport]:
        """Ingest until every medium ends or `stop` is called; one report per camera.

        An error of one camera is in its report and does not end the others.  Errors of the set-up
        (spaces, the ledger's answer) are raised.
        """
        jobs = {job[0].camera: job for job in self._set_up()}
        reports: list[CameraReport] = []
        threads: list[threading.Thread] = []
        for camera in self._cameras:
            if camera.name in jobs:
                job = jobs[camera.name]
                reports.append(job[0])
                thread = threading.Thread(target=self._run_camera, args=job)
            else:
                report = CameraReport(camera.name, 0, 0, time.time_ns())
                report.error = self._absent[camera]
                reports.append(report)
                thread = threading.Thread(target=self._run_absent, args=(report, camera))
            thread.name = f"camera-{camera.name}"
            threads.append(thread)
        for thread in threads:
            thread.start()
        watches = {
            report.camera: StallWatch(report.camera, self._report_line) for report in reports
        }
        while any(thread.is_alive() for thread in threads):
            for thread in threads:
                thread.join(LOOK_EVERY_S / len(threads))
            self._look(watches, reports)
            alive = {
                report.camera
                for report, thread in zip(reports, threads, strict=True)
                if thread.is_alive()
            }
            # One without a pipeline asks to begin, or ends by itself.
            self._leave(
                is_server_away=all(
                    watches[camera].is_stalled or camera not in self._pipelines for camera in alive
                ),
                is_known=bool(alive) and all(watches[camera].is_stalled for camera in alive),
            )
        self._look(watches, reports)
        for camera, report in zip(self._cameras, reports, strict=True):
            self._note(camera, report)
        return reports

    def _set_up(self) -> list[_Job]:
        """Everything that has to be asked before a camera runs; waits for a server that is away."""
        found: list[list[_Job]] = []
        errors: list[BaseException] = []

        def ask() -> None:
            try:
                found.append(self._patience.call(self._jobs))
            except BaseException as error:
                errors.append(error)

        # In a thread of its own: this one can end its waiting.
        thread = threading.Thread(target=ask, name="memdb-ingest-set-up", daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(LOOK_EVERY_S)
            self._leave(is_server_away=True, is_known=False)
        if errors:
            for source in self._sources.values():
                source.close()
            raise errors[0]
        return found[0]

    def _jobs(self) -> list[_Job]:
        has_video = any(source.has_video for source in self._sources.values())
        if has_video or (self._absent and self._encoder is not None):
            self._space = self._prepare_space()
        self._text_encoder = self._prepare_text_space(self._space)
        return [
            self._prepare(camera, source, self._space) for camera, source in self._sources.items()
        ]

    def _leave(self, *, is_server_away: bool, is_known: bool) -> None:
        """After a stop, give up what waits for a server that is away: at once where that was known, else some time
        later.
        """
        if (
            is_server_away
            and self._abandon is not None
            and self._stopped_s is not None
            and (is_known or time.monotonic() - self._stopped_s >= STOP_GRACE_S)
        ):
            abandon, self._abandon = self._abandon, None
            abandon()

    def _plain_writer(self, stream: str, space: str, epoch: int) -> IngestWriter:
        handle = self._user.stream(stream, space=space, codec=self._options.codec)
        return handle.ingest(epoch=epoch, window=WINDOW_CLIPS)

    def _look(self, watches: dict[str, StallWatch], reports: Sequence[CameraReport]) -> None:
        """For acknowledgements that stay away.  What ended well was acknowledged whole; what
        failed waits for nothing, and its error says why.
        """
        for report in reports:
            pipeline = self._pipelines.get(report.camera)
            if pipeline is not None:
                watches[report.camera].look(*pipeline.waiting, pipeline.progress.left_out)
            elif report.error is None:
                watches[report.camera].look(0, 0)

    def _note(self, camera: Camera, report: CameraReport) -> None:
        """Tell of an ingest that had nothing to do: it may have been meant for other footage."""
        progress = report.progress
        if (
            report.held_until_ns is None
            or report.error is not None
            or self._stopping.is_set()
            or progress.frames
            or progress.clips
        ):
            return
        report.note = (
            f"{camera.name}: epoch {report.epoch} already holds {report.resumed_from_seq} clips "
            f"up to {as_text(report.held_until_ns)}; nothing new in {camera.address}; "
            "for other footage use --epoch N"
        )
        self._report_line(report.note)

    def stop(self) -> None:
        """End soon; from any thread or a signal handler."""
        if self._stopped_s is None:
            self._stopped_s = time.monotonic()
        self._stopping.set()
        for pipeline in list(self._pipelines.values()):
            pipeline.stop()

    def _check_sounds(self) -> None:
        """Clips without pictures have a label of their own."""
        if MEDIUM_LABEL in self._options.labels and not all(
            source.has_video for source in self._sources.values()
        ):
            for source in self._sources.values():
                source.close()
            raise InvalidArgument(
                "clips without pictures have this label of their own",
                reason="NOT_USED",
                field="label",
                value=MEDIUM_LABEL,
            )

    def _prepare_space(self) -> Space:
        assert self._encoder is not None, "pictures are seen by an encoder"
        made = self._encoder.space
        name = self._options.space_name or made.name
        return self._database.create_space(name, dim=made.dim, metric=made.metric, model=made.model)

    def _prepare_text_space(self, space: Space | None) -> TextEncoder | None:
        """Name the user's text space if there is none; the encoder for its utterances.

        space: of the pictures, where there are any.
        """
        text_space = _text_space(self._user)
        if text_space is None:
            if space is None or find_text_encoder(space) is None:
                space = self._bundled_space()
            self._user.configure(text_space=space.name)
            text_space = space
        return find_text_encoder(text_space)

    def _sound_space(self) -> Space:
        """The user's text space, in which clips without pictures are found."""
        text_space = _text_space(self._user)
        if text_space is None or self._text_encoder is None:
            raise FailedPrecondition(
                "what is heard without pictures is remembered in the user's text space, and no "
                "installed encoder makes vectors of it",
                reason="ENCODER_MISSING",
                field="space.model",
                value=None if text_space is None else text_space.model,
            )
        return text_space

    def _bundled_space(self) -> Space:
        # Imported here: an agent with another encoder loads this one's module only when it must.
        from perception.encoders.conse import BUNDLED_SPACE as bundled  # noqa: PLC0415

        return self._database.create_space(
            bundled.name, dim=bundled.dim, metric=bundled.metric, model=bundled.model
        )

    def _prepare(
        self,
        camera: Camera,
        source: FileSource,
        space: Space | None,
    ) -> _Job:
        options = self._options
        if space is None or not source.has_video:
            space = self._sound_space()
        epoch = options.epoch
        if epoch is None:
            epoch = int(time.time()) if source.is_live else 0
        stream = self._user.stream(camera.name, space=space.name)
        if options.zone is not None:
            stream.create(zone=options.zone)
        ledger = stream.ledger(epoch=epoch)
        if source.is_live and ledger.clips:
            raise FailedPrecondition(
                "a live source cannot go on with an epoch; leave it out, or give a new one",
                reason="EPOCH_REUSED",
                field="epoch",
                value=epoch,
            )
        start_ns = options.start_ns if options.start_ns is not None else time.time_ns()
        from_ns = 0
        if ledger.first_start_ns is not None:
            if options.start_ns not in (None, ledger.first_start_ns):
                raise InvalidArgument(
                    f"{camera.name} began epoch {epoch} at {as_text(ledger.first_start_ns)}: "
                    "give that start or none, or another epoch",
                    reason="START_MISMATCH",
                    field="start",
                    value=as_text(start_ns),
                )
            start_ns = ledger.first_start_ns
            if ledger.next_seq > 0 and ledger.last_end_ns is not None:
                from_ns = ledger.last_end_ns - start_ns
        report = CameraReport(
            camera.name,
            epoch,
            ledger.next_seq,
            start_ns,
            ledger.last_end_ns if ledger.next_seq > 0 else None,
        )
        context = ClipContext(
            start_ns,
            source.period_ns,
            epoch,
            PooledCompressor(),
            self._text_encoder,
            self._options.labels,
        )
        return report, source, space, context, from_ns

    def _run_camera(
        self,
        report: CameraReport,
        source: FileSource,
        space: Space,
        context: ClipContext,
        from_ns: int,
    ) -> None:
        slip_ns = self._run_epoch(report, source, space, context, from_ns)
        while slip_ns is not None or self._may_come_back(report, source):
            wait_s = self._options.reconnect_s
            if slip_ns is None:
                self._report_line(f"{report.camera}: gone; trying again {length(wait_s)}")
            else:
                self._report_line(
                    f"{report.camera}: its time and the clock's have come to be {slip_ns / NS_PER_S:+.0f} s apart; "
                    "begun anew"
                )
                wait_s = max(wait_s, SLIP_WAIT_S)
            again = Comeback(partial(self._open_again, source), wait_s, self._stopping).wait()
            if again is None:
                return
            source = again
            report.earlier = [*report.earlier, replace(report, earlier=[])][-EARLIER_MAX:]
            # The clock may have been set back; a number that was used is not used again.
            report.epoch = max(report.epoch + 1, int(time.time()))
            report.start_ns = time.time_ns()
            report.resumed_from_seq, report.held_until_ns = 0, None
            report.progress, report.error = Progress(), None
            self._report_line(f"{report.camera}: back, as epoch {report.epoch}")
            context = replace(context, base_ns=report.start_ns, epoch=report.epoch)
            slip_ns = self._run_epoch(report, source, space, context, 0)

    def _run_absent(self, report: CameraReport, camera: Camera) -> None:
        """A camera that was not there at the start: from when it is."""
        wait_s = self._options.reconnect_s
        self._report_line(f"{camera.name}: {report.error}; trying again {length(wait_s)}")
        source = Comeback(partial(self._open_first, camera), wait_s, self._stopping).wait()
        if source is None:
            return
        try:
            job = self._patience.call(partial(self._prepare, camera, source, self._space))
        except MemdbError as error:
            report.error = error
            source.close()
            return
        found, _, space, context, from_ns = job
        report.epoch, report.start_ns = found.epoch, found.start_ns
        report.resumed_from_seq, report.held_until_ns = found.resumed_from_seq, found.held_until_ns
        report.error = None
        self._report_line(f"{camera.name}: there, as epoch {report.epoch}")
        self._run_camera(report, source, space, context, from_ns)

    def _open_first(self, camera: Camera) -> FileSource:
        source = FileSource(
            camera.address, rate_hz=self._options.rate_hz, with_audio=self._hearing is not None
        )
        if source.has_video and self._encoder is None:
            source.close()
            raise SourceUnreadable(
                "nothing was loaded that sees pictures", field="source", value=camera.address
            )
        return source

    def _open_again(self, source: FileSource) -> FileSource:
        """What ``source`` was, anew.  Raises as `FileSource`, also where it has other media by now."""
        again = FileSource(
            source.address, rate_hz=self._options.rate_hz, with_audio=self._hearing is not None
        )
        if again.has_video != source.has_video:
            again.close()
            raise SourceUnreadable(
                "it has pictures now" if again.has_video else "it has no pictures any more",
                field="source",
                value=source.address,
            )
        return again

    def _may_come_back(self, report: CameraReport, source: FileSource) -> bool:
        return (
            source.may_come_back
            and self._options.reconnect_s > 0
            and not self._stopping.is_set()
            and (report.error is None or isinstance(report.error, SourceUnreadable))
        )

    def _run_epoch(
        self,
        report: CameraReport,
        source: FileSource,
        space: Space,
        context: ClipContext,
        from_ns: int,
    ) -> int | None:
        """One epoch, from there to its end; by how much the clock slipped, where that ended it."""
        slip_ns: int | None = None
        started_s = time.monotonic()
        on_ack = None if self._on_ack is None else partial(self._on_ack, report.camera)
        meter = _Meter(report, from_ns, started_s, self._report_line)
        try:
            writer = self._patience.call(
                partial(self._open_writer, report.camera, space.name, report.epoch)
            )
            with writer:
                pipeline = Pipeline(
                    source,
                    self._assembler(report, source, context, from_ns),
                    writer,
                    frames_from_ns=from_ns,
                    is_paced=self._options.is_paced,
                    on_progress=meter.show_sometimes,
                    on_ack=on_ack,
                )
                report.progress = pipeline.progress
                self._pipelines[report.camera] = pipeline
                if self._stopping.is_set():
                    pipeline.stop()
                pipeline.run()
                if not self._stopping.is_set():
                    slip_ns = pipeline.slip_ns
        except MemdbError as error:
            report.error = _as_told(error)
        except Exception as error:
            report.error = error
        finally:
            self._pipelines.pop(report.camera, None)
            source.close()
            report.wall_s = time.monotonic() - started_s
            meter.show()
        return slip_ns

    def _assembler(
        self, report: CameraReport, source: FileSource, context: ClipContext, from_ns: int
    ) -> Assembler:
        listener = None
        if self._hearing is not None and source.has_audio:
            listener = Listener(
                self._hearing.network,
                self._hearing.transcribe,
                language=self._hearing.language,
                from_ns=from_ns or None,
            )
        if source.has_video:
            assert self._encoder is not None, "pictures are seen by an encoder"
            return ClipAssembler(
                context,
                self._encoder,
                listener,
                first_seq=report.resumed_from_seq,
                revise_every=self._options.revise_every,
                is_live=source.is_live,
            )
        assert listener is not None, "a source has pictures or is listened to"
        assert context.text_encoder is not None, "`_sound_space` looked"
        return SoundAssembler(
            context,
            context.text_encoder,
            listener,
            first_seq=report.resumed_from_seq,
            from_ns=from_ns,
            has_revisions=self._options.revise_every > 0,
        )


def open_sources(
    cameras: Sequence[Camera], rate_hz: float, *, with_audio: bool, may_be_absent: bool = False
) -> tuple[dict[Camera, FileSource], dict[Camera, MemdbError]]:
    """Every camera's source, open, and why others are not.  Raises as `IngestAgent`; then none stays open.

    may_be_absent: of what is live, or elsewhere.
    """
    names = [check_id(camera.name, "camera") for camera in cameras]
    doubled = [name for index, name in enumerate(names) if name in names[:index]]
    if not names or doubled:
        raise InvalidArgument(
            "every camera needs a name of its own", field="camera", value=", ".join(doubled)
        )
    sources: dict[Camera, FileSource] = {}
    absent: dict[Camera, MemdbError] = {}
    for camera in cameras:
        try:
            sources[camera] = FileSource(camera.address, rate_hz=rate_hz, with_audio=with_audio)
        except MemdbError as error:
            is_away = isinstance(error, (SourceNotFound, SourceUnreadable))
            if may_be_absent and is_away and may_appear(camera.address):
                absent[camera] = error
                continue
            for source in sources.values():
                source.close()
            raise
    return sources, absent


def _as_told(error: MemdbError) -> MemdbError:
    """In other words where a stop ended the waiting for the server: it was no error of the client's."""
    if isinstance(error, Unavailable) and error.reason == "CLOSED":
        return Unavailable(
            "stopped while the server was away; what was sent last is not acknowledged",
            reason="NOT_ACKNOWLEDGED",
        )
    return error


class _Meter:
    """The progress line of one camera."""

    def __init__(
        self,
        report: CameraReport,
        from_ns: int,
        started_s: float,
        report_line: Callable[[str], None],
    ) -> None:
        self._report = report
        self._from_ns = from_ns
        self._started_s = started_s
        self._report_line = report_line
        self._shown_s = started_s

    def show_sometimes(self, _: Progress) -> None:
        if time.monotonic() - self._shown_s >= PROGRESS_EVERY_S:
            self.show()

    def show(self) -> None:
        self._shown_s = time.monotonic()
        report, progress = self._report, self._report.progress
        wall_s = max(self._shown_s - self._started_s, 1e-6)
        media_s = progress.media_ns / NS_PER_S
        played_s = max(0.0, (progress.media_ns - self._from_ns) / NS_PER_S)
        line = (
            f"{report.camera:16} clips {progress.clips:4}  acked {progress.acks:4}  "
            f"media {media_s:7.1f} s  {played_s / wall_s:5.1f}x  "
            f"{progress.frames / wall_s:5.1f} frames/s  utterances {progress.utterances:3}"
        )
        if progress.damaged:
            line += f"  damaged {progress.damaged}"
        if progress.left_out:
            line += f"  left out {progress.left_out}"
        if report.error is not None:
            line += f"  FAILED {report.error}"
        self._report_line(line)


def _text_space(user: User) -> Space | None:
    try:
        return user.text_space()
    except NotFound:
        # The user is created by the first write.
        return None


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
