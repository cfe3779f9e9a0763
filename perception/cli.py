"""`memdb-ingest`: cameras and microphones to clips in memdb.

`EXIT_CODES` says what its exit codes mean.  Progress goes to stderr, one line of JSON at the end to stdout.
"""

from __future__ import annotations

# Little at the top: what is large is loaded in `main`, where it can be interrupted quietly.
import argparse
import json
import sys
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Final

from memdb.grpclog import silence_grpc
from memdb.interrupts import INTERRUPTED, loading
from memdb.types.authorities import authorities
from perception.command_line import camera, named, parser, server_wait, settings
from perception.lines import to_stderr
from perception.networks import check_networks, networks

if TYPE_CHECKING:
    from memdb.types.database import IngestWriter
    from perception.ack_log import AckLog
    from perception.agent import IngestAgent
    from perception.camera import Camera, CameraReport
    from perception.ingest_options import IngestOptions

EXIT_OTHER: Final = 1
EXIT_USAGE: Final = 2
EXIT_SOURCE: Final = 3
EXIT_UNAVAILABLE: Final = 4
EXIT_WEIGHTS: Final = 5
EXIT_INTERRUPTED: Final = INTERRUPTED

EXIT_CODES: Final = """\
exit codes:
  0    everything was ingested
  1    anything else, such as a server that refuses a clip, or a summary that cannot be written
  2    a wrong option, or something wrong in the file of --config
  3    a camera that broke off, and the others were ingested; or one that is absent or cannot
       be read at the start, and nothing was (live ones are waited for with --reconnect-s)
  4    a server that cannot be reached, or stayed away for longer than it is waited for
  5    weights that cannot be had
  130  stopped by SIGINT (Ctrl-C), 143 by SIGTERM, whatever became of a camera before: the
       summary on stdout says that.  What was sent is acknowledged, unless the server was
       away, or a second signal ended it at once
"""

_OURS: Final = ("memdb", "memdb_client", "perception")
"""Packages whose absence is a bug of ours, not an extra that was left out."""
_OPENCLIP: Final = ("open_clip", "torchvision", "timm")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    try:
        return _main(arguments)
    except KeyboardInterrupt:
        # While starting; once cameras run, a signal is an orderly stop.
        return EXIT_INTERRUPTED
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name in _OURS:
            raise
        extra = "openclip" if name in _OPENCLIP else "perception"
        print(
            f'memdb-ingest: {name} is not installed: this needs the extra "memdb[{extra}]"',
            file=sys.stderr,
        )
        return EXIT_OTHER


def _main(arguments: list[str] | None) -> int:
    with loading():
        from memdb.output import OutputLost, keep_standard_files, parsed, result_on_stdout

    reading = parser(EXIT_CODES)
    given = vars(parsed(reading, arguments))
    with loading():
        from memdb.errors import MemdbError
        from perception.arguments import labels
        from perception.settings import Settings, merged, read_settings

    keep_standard_files()
    try:
        config = given.pop("config", None)
        of_file = Settings() if config is None else read_settings(Path(config))
        if "labels" in given:
            given["labels"] = labels(given["labels"])
        cameras = {**of_file.cameras, **named(given.pop("camera", []), of_file.cameras)}
        options = merged(of_file.common, given)
        absent = [name for name in ("server", "user") if not hasattr(options, name)]
        absent += [] if cameras else ["camera"]
        if absent:
            options_of = ", ".join(f"--{name}" for name in absent)
            reading.error(f"the following arguments are required: {options_of}, or in --config")
        of_cameras = {name: merged(of_file.common, own, given) for name, own in cameras.items()}
        with result_on_stdout():
            return _ingest(options, of_cameras)
    except OutputLost as error:
        if not error.is_read_enough:
            _to_stderr(str(error))
        return EXIT_OTHER
    except MemdbError as error:
        print(f"memdb-ingest: {error}", file=sys.stderr)
        return exit_code(error)


def exit_code(error: BaseException) -> int:
    """The exit code that says what kind of error this is."""
    from memdb.errors import DeadlineExceeded, InvalidArgument, Unavailable
    from perception.errors import (
        SourceNotFound,
        SourceUnreadable,
        WeightsDamaged,
        WeightsUnavailable,
    )

    if isinstance(error, (SourceNotFound, SourceUnreadable)):
        return EXIT_SOURCE
    if isinstance(error, (WeightsUnavailable, WeightsDamaged)):
        return EXIT_WEIGHTS
    if isinstance(error, (Unavailable, DeadlineExceeded)):
        return EXIT_UNAVAILABLE
    if isinstance(error, InvalidArgument):
        return EXIT_USAGE
    return EXIT_OTHER


def _ingest(options: argparse.Namespace, of_cameras: Mapping[str, argparse.Namespace]) -> int:
    """options: of the agent.  of_cameras: by name; ``source`` is in each."""
    silence_grpc()
    # Imported here: `--help` and a wrong option need none of it.
    with loading():
        import memdb_client
        from memdb.types.ids import check_id
        from perception.agent import IngestAgent
        from perception.allocator import keep_memory
        from perception.arguments import at_least, server_address
        from perception.ingest_options import WINDOW_CLIPS
        from perception.patience import Patience
        from perception.reach import reach

    keep_memory()
    server_wait_s = server_wait(options.server_wait_s)
    common = settings(options, server_wait_s)
    cameras = [camera(name, own, server_wait_s) for name, own in of_cameras.items()]
    threads = at_least(options.threads, 1, "threads")
    server_address(options.server)
    check_id(options.user, "user")
    for name in of_cameras:
        check_id(name, "camera")
    if options.space is not None:
        check_id(options.space, "space")
    spoken = {name: own.language for name, own in of_cameras.items() if own.audio}
    whisper = options.whisper if spoken else None
    check_networks(options.encoder, whisper, spoken)
    tls = authorities(options.tls)
    # What is wrong by itself has been told; it makes no connection yet.
    with memdb_client.connect(options.server, token=options.token, tls=tls) as database:
        # What is cheap to get wrong is looked at before the networks are loaded.
        has_video = _may_have_video(cameras, common, with_audio=bool(spoken))
        # A server that is not there is told now, not after the networks are loaded.
        Patience(common.server_wait_s, Event(), _to_stderr).call(
            partial(reach, options.server, options.token, tls=tls)
        )
        with _ack_log(options.ack_log) as ack_log:
            encoder, hearing = networks(
                options.encoder if has_video else None,
                whisper,
                spoken,
                threads,
                report_line=_to_stderr,
            )
            on_ack = None if ack_log is None else ack_log.record
            patience = {} if server_wait_s is None else {"reconnect_timeout_s": server_wait_s}

            def open_writer(stream: str, space: str, epoch: int) -> IngestWriter:
                codec = of_cameras[stream].codec
                handle = database.user(options.user).stream(stream, space=space, codec=codec)
                return handle.ingest(
                    epoch=epoch, window=WINDOW_CLIPS, wait_for_room=True, **patience
                )

            agent = IngestAgent(
                database, options.user, cameras, encoder, hearing, common,
                on_ack=on_ack, open_writer=open_writer, abandon=database.close,
            )  # fmt: skip
            return _run(agent, options.user)


def _may_have_video(cameras: list[Camera], common: IngestOptions, *, with_audio: bool) -> bool:
    """Whether any camera shows pictures, or may once it is there; raises where a source cannot be opened.

    A pipe is not looked into: what is read of it here would be missing there.
    """
    from perception.sources.address import plays_once
    from perception.sources.opening import open_sources

    looked_at = [camera for camera in cameras if not plays_once(camera.address)]
    if not looked_at:
        return True
    opened, absent = open_sources(looked_at, common, with_audio=with_audio)
    for source in opened.values():
        source.close()
    return (
        bool(absent)
        or len(looked_at) < len(cameras)
        or any(source.has_video for source in opened.values())
    )


def _run(agent: IngestAgent, user: str) -> int:
    """Run the agent until it ends or is stopped by a signal; tells what became of it and returns the exit code."""
    from memdb.errors import MemdbError
    from perception.stopping import Stopping

    stopping = Stopping(agent.stop, _to_stderr)
    try:
        reports = agent.run()
    except MemdbError as failure:
        if stopping.signal is None:
            raise
        _to_stderr(str(failure))
        return 128 + stopping.signal
    summary = {
        "user": user,
        "interrupted": stopping.signal is not None,
        "processor_s": round(time.process_time(), 3),
        "cameras": [_summary(item) for report in reports for item in (*report.earlier, report)],
    }
    errors = [report.error for report in reports if report.error is not None]
    for error in errors:
        _to_stderr(str(error))
    print(json.dumps(summary))
    if stopping.signal is not None:
        return 128 + stopping.signal
    return exit_code(errors[0]) if errors else 0


def _to_stderr(line: str) -> None:
    to_stderr(f"memdb-ingest: {line}")


def _ack_log(path: str | None) -> AbstractContextManager[AckLog | None]:
    from perception.ack_log import AckLog

    return nullcontext() if path is None else AckLog(Path(path))


def _summary(report: CameraReport) -> dict[str, object]:
    from memdb.types.times import as_text

    progress = report.progress
    return {
        "camera": report.camera,
        "epoch": report.epoch,
        "start": as_text(report.start_ns),
        "resumed_from_seq": report.resumed_from_seq,
        "next_seq": report.resumed_from_seq + progress.clips + progress.left_out,
        "clips": progress.clips,
        "acks": progress.acks,
        "left_out": progress.left_out,
        "damaged": progress.damaged,
        "frames": progress.frames,
        "utterances": progress.utterances,
        "media_s": round(progress.media_ns / 1e9, 3),
        "wall_s": round(report.wall_s, 3),
        "processor_s": {
            "read": round(progress.read_s, 3),
            "assemble": round(progress.assemble_s, 3),
            "send": round(progress.send_s, 3),
        },
        "note": report.note,
        "error": None if report.error is None else str(report.error),
    }


if __name__ == "__main__":
    sys.exit(main())
