"""Several cameras and microphones at once: a thread and a pipeline each (`perception.camera_run`), sharing the
encoder and the recogniser, resumed where the ledger says (`perception.epoch`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from memdb.errors import InvalidArgument
from memdb.types.clip import Clip
from memdb.types.database import Database, IngestWriter
from memdb.types.ids import check_id
from perception.audio.hearing import Hearing
from perception.camera import Camera, CameraReport
from perception.camera_run import CameraRun, Equipment
from perception.encoders.base import Encoder
from perception.epoch import Epoch, epoch_from_ledger
from perception.ingest_options import WINDOW_CLIPS, IngestOptions
from perception.lines import to_stderr
from perception.patience import Patience
from perception.sound_label import MEDIUM_LABEL
from perception.sources.opening import open_sources
from perception.spaces import IngestSpaces

LOOK_EVERY_S: Final = 0.5
"""Between two looks for acknowledgements that stay away."""
STOP_GRACE_S: Final = 5.0
"""After a stop, for a server that acknowledges nothing."""


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

        encoder: of the pictures; may be None where there are none.  options: of the agent, and of the
        cameras that have none of their own.  report_line: takes the progress lines; by default they go
        to stderr.  on_ack: takes the camera and each clip that is acknowledged, from the camera's
        thread.  open_writer: from stream, space and epoch; by default as the stream's handle does.
        abandon: makes every call on the database fail, called after a stop where the server is away.
        Raises `InvalidArgument` for a bad or doubled name,
        `SourceNotFound` and `SourceUnreadable`.
        """
        user = database.user(check_id(user_id, "user"))
        options = options or IngestOptions()
        report_line = report_line or to_stderr
        stopping = threading.Event()
        codecs = {camera.name: camera.chosen(options).codec for camera in cameras}

        def plain_writer(stream: str, space: str, epoch: int) -> IngestWriter:
            handle = user.stream(stream, space=space, codec=codecs[stream])
            return handle.ingest(epoch=epoch, window=WINDOW_CLIPS)

        self._cameras = tuple(cameras)
        self._equipment = Equipment(
            user,
            IngestSpaces(database, user, encoder, options.space_name),
            encoder,
            hearing,
            options,
            Patience(options.server_wait_s, stopping, report_line),
            stopping,
            report_line,
            on_ack,
            open_writer or plain_writer,
        )
        self._abandon = abandon
        self._sources, self._absent = open_sources(cameras, options, with_audio=hearing is not None)
        self._check_sounds()
        self._runs: list[CameraRun] = []
        self._stopped_s: float | None = None

    def run(self) -> list[CameraReport]:
        """Ingest until every medium ends or `stop` is called; one report per camera.

        An error of one camera is in its report and does not end the others.  Errors of the set-up
        (spaces, the ledger's answer) are raised.
        """
        epochs = self._set_up()
        self._runs = [
            CameraRun(camera, self._equipment, epochs.get(camera) or self._absent[camera])
            for camera in self._cameras
        ]
        threads = {
            run: threading.Thread(target=run.run, name=f"camera-{run.camera.name}")
            for run in self._runs
        }
        for thread in threads.values():
            thread.start()
        while any(thread.is_alive() for thread in threads.values()):
            for thread in threads.values():
                thread.join(LOOK_EVERY_S / len(threads))
            for run in self._runs:
                run.look()
            alive = [run for run, thread in threads.items() if thread.is_alive()]
            self._leave(
                is_server_away=all(run.is_stalled or not run.is_begun for run in alive),
                is_known=bool(alive) and all(run.is_stalled for run in alive),
            )
        for run in self._runs:
            run.look()
        for run in self._runs:
            run.note()
        return [run.report for run in self._runs]

    def stop(self) -> None:
        """End soon; from any thread or a signal handler."""
        if self._stopped_s is None:
            self._stopped_s = time.monotonic()
        self._equipment.stopping.set()
        for run in self._runs:
            run.stop()

    def _set_up(self) -> dict[Camera, Epoch]:
        """Everything that has to be asked before a camera runs; waits for a server that is away."""
        found: list[dict[Camera, Epoch]] = []
        errors: list[BaseException] = []

        def ask() -> None:
            try:
                found.append(self._equipment.patience.call(self._epochs))
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

    def _epochs(self) -> dict[Camera, Epoch]:
        """The first epoch of every camera that is there; may be asked again."""
        parts = self._equipment
        with_video = any(source.has_video for source in self._sources.values())
        parts.spaces.prepare(
            with_video=with_video or (bool(self._absent) and parts.encoder is not None)
        )
        return {
            camera: epoch_from_ledger(
                parts.user, camera, source, parts.spaces, camera.chosen(parts.options)
            )
            for camera, source in self._sources.items()
        }

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

    def _check_sounds(self) -> None:
        """Clips without pictures have a label of their own."""
        if any(
            MEDIUM_LABEL in camera.chosen(self._equipment.options).labels and not source.has_video
            for camera, source in self._sources.items()
        ):
            for source in self._sources.values():
                source.close()
            raise InvalidArgument(
                "clips without pictures have this label of their own",
                reason="NOT_USED",
                field="label",
                value=MEDIUM_LABEL,
            )
