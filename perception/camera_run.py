"""One camera of an agent, in a thread of its own: an epoch, and where its source is live and went away, or was not
there at the start, others whenever it answers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from memdb.errors import AlreadyExists, MemdbError, Unavailable
from memdb.types.clip import Clip
from memdb.types.database import IngestWriter, User
from memdb.types.times import as_text
from perception.assembler import ClipAssembler
from perception.audio.hearing import Hearing
from perception.audio.listener import Listener
from perception.camera import Camera, CameraReport
from perception.clips import ClipRule
from perception.comeback import Comeback
from perception.encoders.base import Encoder
from perception.epoch import Epoch, epoch_from_ledger, epoch_from_now
from perception.errors import SourceUnreadable
from perception.ingest_options import IngestOptions
from perception.meter import Meter
from perception.patience import Patience, length
from perception.pipeline import Assembler, Pipeline
from perception.sound_assembler import SoundAssembler
from perception.sources.address import shown
from perception.sources.base import NS_PER_S
from perception.sources.opening import open_again, open_late
from perception.spaces import IngestSpaces
from perception.stall import StallWatch

SLIP_WAIT_S: Final = 60.0
"""For a camera that is there, and is only to be opened again."""


@dataclass(frozen=True, slots=True)
class Equipment:
    """What all cameras of an agent work with."""

    user: User
    spaces: IngestSpaces
    encoder: Encoder | None
    hearing: Hearing | None
    options: IngestOptions
    """Of the agent, and of the cameras that have none of their own."""
    patience: Patience
    stopping: threading.Event
    report_line: Callable[[str], None]
    on_ack: Callable[[str, Clip], None] | None
    """Takes the camera and each clip that is acknowledged, from the camera's thread."""
    open_writer: Callable[[str, str, int], IngestWriter]
    """From stream, space and epoch."""


class CameraRun:
    """Runs one camera; `run` in its thread, everything else from any."""

    def __init__(self, camera: Camera, equipment: Equipment, begin: Epoch | MemdbError) -> None:
        """begin: the first epoch, or why the camera is not there."""
        self.camera = camera
        self.report = CameraReport(camera.name, start_ns=time.time_ns())
        self._with = equipment
        self._options = camera.chosen(equipment.options)
        self._first: Epoch | None = None
        if isinstance(begin, Epoch):
            self._begin(begin)
            self._first = begin
        else:
            self.report.error = begin
        self._watch = StallWatch(camera.name, equipment.report_line)
        self._pipeline: Pipeline | None = None
        self._meter: Meter | None = None

    @property
    def is_begun(self) -> bool:
        """Whether an epoch runs; a camera without one asks to begin, waits for its source, or ends by itself."""
        return self._pipeline is not None

    @property
    def is_stalled(self) -> bool:
        """Whether acknowledgements stay away, at the last `look`."""
        return self._watch.is_stalled

    def run(self) -> None:
        """Until the medium ends and does not come back, or the agent is stopped.  An error is in the report."""
        epoch = self._first or self._appeared()
        if epoch is None:
            return
        self._tell_going_on(epoch)
        slip_ns = self._run_epoch(epoch)
        while slip_ns is not None or self._may_come_back(epoch):
            again = self._came_back(epoch, slip_ns)
            if again is None:
                return
            epoch = again
            slip_ns = self._run_epoch(epoch)

    def stop(self) -> None:
        """End the epoch that runs; the agent's ``stopping`` is set before."""
        pipeline = self._pipeline
        if pipeline is not None:
            pipeline.stop()

    def look(self) -> None:
        """How far it is, and for acknowledgements that stay away.  What ended well was acknowledged whole; what failed
        waits for nothing, and its error says why.
        """
        pipeline, meter = self._pipeline, self._meter
        if meter is not None:
            meter.show_sometimes()
        if pipeline is not None:
            self._watch.look(*pipeline.waiting, pipeline.progress.left_out)
        elif self.report.error is None:
            self._watch.look(0, 0)

    def note(self) -> None:
        """Tell of a run that had nothing to do: it may have been meant for other footage."""
        report, progress = self.report, self.report.progress
        if (
            report.held_until_ns is None
            or report.error is not None
            or self._with.stopping.is_set()
            or progress.frames
            or progress.clips
        ):
            return
        report.note = (
            f"{report.camera}: epoch {report.epoch} already holds {report.resumed_from_seq} clips "
            f"up to {as_text(report.held_until_ns)}; nothing new in {shown(self.camera.address)}; "
            "for other footage use --epoch N"
        )
        self._with.report_line(report.note)

    def _begin(self, epoch: Epoch) -> None:
        report = self.report
        report.epoch, report.start_ns = epoch.context.epoch, epoch.context.base_ns
        report.resumed_from_seq, report.held_until_ns = epoch.first_seq, epoch.held_until_ns

    def _tell_going_on(self, epoch: Epoch) -> None:
        """Of a recording's beginning that is passed over: other footage would lose it; and of another agent."""
        report = self.report
        if epoch.beside is not None:
            self._with.report_line(
                f"{report.camera}: epoch {epoch.beside} had a clip a moment ago: if another agent still "
                "watches this camera, all that it sees is stored twice"
            )
        if report.held_until_ns is not None:
            self._with.report_line(
                f"{report.camera}: epoch {report.epoch} holds {report.resumed_from_seq} clips up to "
                f"{as_text(report.held_until_ns)}; goes on at {epoch.from_ns / NS_PER_S:.1f} s of "
                f"{shown(self.camera.address)}; other footage needs --epoch N"
            )

    def _appeared(self) -> Epoch | None:
        """The first epoch of a camera that was not there at the start, once it is; None where it does not come."""
        parts, report = self._with, self.report
        wait_s = self._options.reconnect_s
        parts.report_line(f"{report.camera}: {report.error}; trying again {length(wait_s)}")
        open_source = partial(
            open_late,
            self.camera,
            self._options,
            with_audio=parts.hearing is not None,
            with_video=parts.encoder is not None,
        )
        source = Comeback(open_source, wait_s, parts.stopping).wait()
        if source is None:
            return None
        try:
            epoch = parts.patience.call(
                partial(
                    epoch_from_ledger, parts.user, self.camera, source, parts.spaces, self._options
                )
            )
        except MemdbError as error:
            report.error = error
            source.close()
            return None
        self._begin(epoch)
        report.error = None
        parts.report_line(f"{report.camera}: there, as epoch {report.epoch}")
        return epoch

    def _may_come_back(self, epoch: Epoch) -> bool:
        error = self.report.error
        return (
            # A recording would begin anew.
            epoch.source.is_live
            and self._options.reconnect_s > 0
            and not self._with.stopping.is_set()
            and (error is None or isinstance(error, SourceUnreadable))
        )

    def _came_back(self, before: Epoch, slip_ns: int | None) -> Epoch | None:
        """The next epoch, once the camera answers; None where it does not.

        slip_ns: by how much its time went wrong, where that is why it is opened again.
        """
        parts, report = self._with, self.report
        wait_s = self._options.reconnect_s
        if slip_ns is None:
            parts.report_line(f"{report.camera}: gone; trying again {length(wait_s)}")
        else:
            parts.report_line(
                f"{report.camera}: its time and the clock's have come to be {slip_ns / NS_PER_S:+.0f} s apart; "
                "begun anew"
            )
            wait_s = max(wait_s, SLIP_WAIT_S)
        open_source = partial(
            open_again,
            before.source,
            self._options,
            with_audio=parts.hearing is not None,
        )
        source = Comeback(open_source, wait_s, parts.stopping).wait()
        if source is None:
            return None
        epoch = epoch_from_now(before, source)
        report.keep()
        self._begin(epoch)
        parts.report_line(f"{report.camera}: back, as epoch {report.epoch}")
        return epoch

    def _run_epoch(self, epoch: Epoch) -> int | None:
        """One epoch, to its end; by how much the clock slipped, where that ended it."""
        parts, report = self._with, self.report
        slip_ns: int | None = None
        started_s = time.monotonic()
        meter = self._meter = Meter(report, epoch.from_ns, started_s, parts.report_line)
        try:
            writer = parts.patience.call(
                partial(parts.open_writer, report.camera, epoch.space.name, report.epoch)
            )
            with writer:
                pipeline = Pipeline(
                    epoch.source,
                    _assembler(epoch, parts, self._options),
                    writer,
                    frames_from_ns=epoch.from_ns,
                    known=epoch.known,
                    is_paced=self._options.is_paced,
                    on_ack=None if parts.on_ack is None else partial(parts.on_ack, report.camera),
                )
                report.progress = pipeline.progress
                self._pipeline = pipeline
                # Asked after it can be stopped: a stop between the two would be lost.
                if parts.stopping.is_set():
                    pipeline.stop()
                pipeline.run()
                if not parts.stopping.is_set():
                    slip_ns = pipeline.slip_ns
        except MemdbError as error:
            report.error = _as_told(error)
        except Exception as error:
            # This is a thread of one camera: the command tells it, and the other cameras go on.
            report.error = error
        finally:
            self._pipeline = self._meter = None
            epoch.source.close()
            report.wall_s = time.monotonic() - started_s
            meter.show()
        return slip_ns


def _assembler(epoch: Epoch, parts: Equipment, options: IngestOptions) -> Assembler:
    """What makes clips of an epoch: of its pictures and their sound, or of its sound alone."""
    source = epoch.source
    listener = None
    hearing = parts.hearing
    if hearing is not None and source.has_audio:
        listener = Listener(
            hearing.network,
            lambda samples: hearing.transcribe(samples, options.language),
            language=options.language,
            from_ns=epoch.from_ns or None,
        )
    if source.has_video:
        assert parts.encoder is not None, "pictures are seen by an encoder"
        return ClipAssembler(
            epoch.context,
            parts.encoder,
            listener,
            first_seq=epoch.first_seq,
            revise_every=options.revise_every,
            rule=ClipRule(cosine_max=options.scene),
        )
    assert listener is not None, "a source has pictures or is listened to"
    assert epoch.context.text_encoder is not None, "`IngestSpaces.of_sounds` looked"
    return SoundAssembler(
        epoch.context,
        epoch.context.text_encoder,
        listener,
        first_seq=epoch.first_seq,
        from_ns=epoch.from_ns,
        has_revisions=options.revise_every > 0,
    )


def _as_told(error: MemdbError) -> MemdbError:
    """In other words where a stop ended the waiting for the server, which was no error of the client's, and where a
    number was taken, which is none that whoever gave the command has chosen.
    """
    if isinstance(error, Unavailable) and error.reason == "CLOSED":
        return Unavailable(
            "stopped while the server was away; what was sent last is not acknowledged",
            reason="NOT_ACKNOWLEDGED",
        )
    if isinstance(error, AlreadyExists) and error.reason == "SEQ_REUSED":
        return AlreadyExists(
            "the camera's epoch holds another clip of this number: another ingest writes it at the same time, or wrote "
            "other footage; other footage needs --epoch N",
            reason=error.reason,
            field=error.field,
            value=error.value,
        )
    return error
