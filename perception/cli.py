"""`memdb-ingest`: cameras and microphones to clips in memdb.

`EXIT_CODES` says what its exit codes mean.  Progress goes to stderr, one line of JSON at the end to stdout.
"""

from __future__ import annotations

# Little at the top: what is large is loaded in `main`, where it can be interrupted quietly.
import argparse
import json
import math
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Final

import memdb
from memdb.grpclog import silence_grpc
from memdb.interrupts import INTERRUPTED, loading
from memdb.types.authorities import TLS_HELP, authorities

if TYPE_CHECKING:
    from memdb.types.database import IngestWriter
    from perception.ack_log import AckLog
    from perception.agent import IngestAgent
    from perception.audio.hearing import Hearing
    from perception.camera import Camera, CameraReport
    from perception.encoders.base import Encoder
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
  1    anything else, such as a server that refuses a clip
  2    a wrong option
  3    a camera that broke off, and the others were ingested; or one that is absent or cannot
       be read at the start, and nothing was (live ones are waited for with --reconnect-s)
  4    a server that cannot be reached, or stayed away for longer than it is waited for
  5    weights that cannot be had
  130  stopped by SIGINT (Ctrl-C), 143 by SIGTERM, whatever became of a camera before: the
       summary on stdout says that.  What was sent is acknowledged, unless the server was
       away, or a second signal ended it at once
"""

SERVER_WAIT_S_MAX: Final = 30 * 86_400.0
"""As the client: beyond it, for ever."""

_OURS: Final = ("memdb", "memdb_client", "perception")
"""Packages whose absence is a bug of ours, not an extra that was left out."""
_OPENCLIP: Final = ("open_clip", "torchvision", "timm")

_EXAMPLE: Final = """\
example:
  memdb-ingest --server localhost:7700 --user alice \\
      --camera front-door=door.mp4 --camera kitchen=rtsp://10.0.0.5/live
"""


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
    options = _parser().parse_args(arguments)
    with loading():
        from memdb.errors import MemdbError

    try:
        return _ingest(options)
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="memdb-ingest",
        description="Turn cameras and microphones into clips of memory. An ingest that was broken off goes on "
        "where it stopped when the same command is given again.",
        epilog=_EXAMPLE + "\n" + EXIT_CODES,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--version", action="version", version=f"memdb-ingest {memdb.__version__}")
    add("--server", required=True, metavar="HOST:PORT", help="a running `memdb serve`")
    add("--token", help="token of the user, where the server asks for one")
    add("--tls", metavar="FILE", help=TLS_HELP)
    add(
        "--server-wait-s",
        type=float,
        metavar="SECONDS",
        help="how long a server that is away, or whose disk is full, is waited for, at the start and later; "
        "inf: for ever. Live cameras are watched on meanwhile, and clips for which there is no room any more are gaps "
        "(default: 5 at the start, 60 later)",
    )
    add("--user", required=True, help="whose memory")
    add(
        "--camera",
        required=True,
        action="append",
        metavar="NAME=SOURCE",
        help="a stream and its file, URL, pipe (/dev/stdin) or microphone (alsa:default); what has no pictures is "
        "heard alone; may be given several times",
    )
    add(
        "--start",
        metavar="RFC3339",
        help="when recorded media began, such as 2026-01-05T09:00:00Z (default: now)",
    )
    add(
        "--epoch",
        type=int,
        metavar="N",
        help="which footage of the camera this is (default: 0; live: the second it began). "
        "The same epoch goes on where its last clip ended, so that a broken-off ingest can be "
        "repeated; other footage of the same camera needs another number",
    )
    add("--encoder", default="bundled", help="bundled, or open_clip:MODEL:CHECKPOINT")
    add("--space", help="name of the feature space (default: the encoder's)")
    add("--rate", type=float, default=1.0, help="frames a second (default: 1)")
    add("--realtime", action="store_true", help="read no faster than the media play")
    add(
        "--revise-every",
        type=int,
        default=4,
        metavar="N",
        help="frames between revisions of the open clip (default: 4; 0: none)",
    )
    add(
        "--codec",
        default="delta",
        metavar="NAME",
        help="how short-term memory is kept: delta, which takes a quarter of the bytes and keeps the ranking of "
        "answers, coarse, int8, int4, or without loss plain and f16 (default: delta). An ingest that is repeated "
        "needs the same",
    )
    add(
        "--zone",
        metavar="NAME",
        help="time zone of the cameras, by whose clock hours and weekdays are asked for: Europe/Berlin "
        "(default: the one they have, UTC for new ones)",
    )
    add(
        "--label",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a label of every clip, by which questions can be narrowed (memdb-ask --label): zone=porch (may be "
        "repeated)",
    )
    add(
        "--reconnect-s",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="how long a live camera that broke off or ended, or is not there at the start, is tried again, each time "
        "as a new epoch; inf: for ever. The others go on meanwhile (default: 0, it has ended)",
    )
    add("--no-audio", action="store_true", help="do not listen")
    add("--language", default="en", help="what is spoken (default: en)")
    add(
        "--whisper",
        default="whisper-tiny.en",
        metavar="NAME|DIR",
        help="whisper-tiny.en, whisper-base, or a CTranslate2 directory",
    )
    add("--ack-log", metavar="FILE", help="append a line of JSON per acknowledged clip")
    # One: cameras encode side by side, and a network on many threads waits for the slowest at each
    # of its layers, which on a busy machine makes it ten times slower.
    add("--threads", type=int, default=1, help="threads of the encoder per camera (default: 1)")
    return parser


def _ingest(options: argparse.Namespace) -> int:
    silence_grpc()
    # Imported here: `--help` and a wrong option need none of it.
    with loading():
        import memdb_client
        from memdb.types.tensor import codec_named
        from perception.agent import IngestAgent
        from perception.allocator import keep_memory
        from perception.arguments import at_least, server_address
        from perception.ingest_options import WINDOW_CLIPS
        from perception.patience import Patience
        from perception.reach import reach

    keep_memory()
    cameras = [_camera(text) for text in options.camera]
    server_wait_s = _server_wait_s(options.server_wait_s)
    settings = _settings(options, server_wait_s)
    codec_named(options.codec)
    threads = at_least(options.threads, 1, "threads")
    server_address(options.server)
    # What is cheap to get wrong is looked at before the networks are loaded.
    has_video = _may_have_video(cameras, settings, with_audio=not options.no_audio)

    # A server that is not there is told now, not after the networks are loaded.
    tls = authorities(options.tls)
    Patience(settings.server_wait_s, Event(), _to_stderr).call(
        partial(reach, options.server, options.token, tls=tls)
    )

    with (
        memdb_client.connect(options.server, token=options.token, tls=tls) as database,
        _ack_log(options.ack_log) as ack_log,
    ):
        encoder, hearing = _networks(options, threads, len(cameras), has_video=has_video)
        on_ack = None if ack_log is None else ack_log.record
        patience = {} if server_wait_s is None else {"reconnect_timeout_s": server_wait_s}

        def open_writer(stream: str, space: str, epoch: int) -> IngestWriter:
            handle = database.user(options.user).stream(stream, space=space, codec=options.codec)
            return handle.ingest(epoch=epoch, window=WINDOW_CLIPS, wait_for_room=True, **patience)

        agent = IngestAgent(
            database, options.user, cameras, encoder, hearing, settings,
            on_ack=on_ack, open_writer=open_writer, abandon=database.close,
        )  # fmt: skip
        return _run(agent, options.user)


def _settings(options: argparse.Namespace, server_wait_s: float | None) -> IngestOptions:
    """The options that all cameras have in common, checked; ``server_wait_s`` is already."""
    from memdb.types.times import as_ns, moment
    from memdb.types.zone import checked_zone
    from perception.arguments import at_least, labels, within
    from perception.draft import clip_labels
    from perception.ingest_options import IngestOptions

    return IngestOptions(
        start_ns=None if options.start is None else as_ns(moment(options.start, "start"), "start"),
        epoch=options.epoch,
        space_name=options.space,
        rate_hz=options.rate,
        is_paced=options.realtime,
        revise_every=at_least(options.revise_every, 0, "revise-every"),
        codec=options.codec,
        zone=None if options.zone is None else checked_zone(options.zone),
        labels=clip_labels(labels(options.label)),
        reconnect_s=within(options.reconnect_s, 0.0, math.inf, "reconnect-s"),
        server_wait_s=server_wait_s or 0.0,
    )


def _may_have_video(cameras: list[Camera], settings: IngestOptions, *, with_audio: bool) -> bool:
    """Whether any camera shows pictures, or may once it is there; raises where a source cannot be opened.

    A pipe is not looked into: what is read of it here would be missing there.
    """
    from perception.sources.address import plays_once
    from perception.sources.opening import open_sources

    looked_at = [camera for camera in cameras if not plays_once(camera.address)]
    if not looked_at:
        return True
    opened, absent = open_sources(
        looked_at,
        settings.rate_hz,
        with_audio=with_audio,
        may_be_absent=settings.reconnect_s > 0,
    )
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
        "cameras": [_summary(item) for report in reports for item in (*report.earlier, report)],
    }
    print(json.dumps(summary))
    errors = [report.error for report in reports if report.error is not None]
    for error in errors:
        print(f"memdb-ingest: {error}", file=sys.stderr)
    if stopping.signal is not None:
        return 128 + stopping.signal
    return exit_code(errors[0]) if errors else 0


def _server_wait_s(given: float | None) -> float | None:
    """``--server-wait-s``, checked."""
    from memdb.types.checks import check_number

    if given is None or given == math.inf:
        return given
    return check_number(given, "server-wait-s", 0.0, SERVER_WAIT_S_MAX, above=True)


def _networks(
    options: argparse.Namespace, threads: int, cameras: int, *, has_video: bool
) -> tuple[Encoder | None, Hearing | None]:
    """What sees, where there is something to be seen, and what hears, told on stderr as it takes
    seconds, or minutes the first time.
    """
    with loading():
        from perception.encoders import BUNDLED, load_encoder
        from perception.encoders.needs import BUNDLED_ARTEFACTS, BUNDLED_TEXT_ARTEFACTS
        from perception.weights import announce, fetch_many

    needed: list[str] = []
    if not has_video:
        needed += BUNDLED_TEXT_ARTEFACTS
    elif options.encoder == BUNDLED:
        needed += BUNDLED_ARTEFACTS
    if not options.no_audio:
        needed += _whisper_artefacts(options.whisper)
    announce(needed, _to_stderr)
    fetch_many(needed)
    _to_stderr("loading models")
    with loading():
        import torch

    torch.set_num_threads(threads)
    encoder = load_encoder(options.encoder) if has_video else None
    if options.no_audio:
        return encoder, None
    return encoder, _hearing(options.whisper, options.language, cameras)


def _to_stderr(line: str) -> None:
    print(f"memdb-ingest: {line}", file=sys.stderr, flush=True)


def _ack_log(path: str | None) -> AbstractContextManager[AckLog | None]:
    from perception.ack_log import AckLog

    return nullcontext() if path is None else AckLog(Path(path))


def _camera(text: str) -> Camera:
    from memdb.errors import InvalidArgument
    from perception.camera import Camera
    from perception.sources.address import shown

    name, separator, address = text.partition("=")
    if not separator or not address or "://" in name:
        raise InvalidArgument("a camera is NAME=SOURCE", field="camera", value=shown(text))
    return Camera(name, address)


def _whisper_artefacts(whisper: str) -> list[str]:
    """What has to be fetched to hear."""
    from memdb.errors import InvalidArgument
    from perception.artefacts import ARTEFACTS

    if whisper in ARTEFACTS:
        return [whisper, "silero-vad"]
    if Path(whisper).is_dir():
        return ["silero-vad"]
    raise InvalidArgument("neither a known model nor a directory", field="whisper", value=whisper)


def _hearing(whisper: str, language: str, cameras: int) -> Hearing:
    from perception.artefacts import ARTEFACTS
    from perception.audio.asr import Recogniser
    from perception.audio.hearing import Hearing
    from perception.audio.vad import VoiceActivity
    from perception.weights import fetch

    recogniser = Recogniser(
        fetch(whisper) if whisper in ARTEFACTS else Path(whisper),
        language=language,
        workers=min(cameras, os.cpu_count() or 1),
    )
    return Hearing(VoiceActivity(fetch("silero-vad")), recogniser.transcribe, language)


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
        "note": report.note,
        "error": None if report.error is None else str(report.error),
    }


if __name__ == "__main__":
    sys.exit(main())
