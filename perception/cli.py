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
import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, Final

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

SERVER_WAIT_S_MAX: Final = 30 * 86_400.0
"""As the client: beyond it, for ever."""

_OURS: Final = ("memdb", "memdb_client", "perception")
"""Packages whose absence is a bug of ours, not an extra that was left out."""
_OPENCLIP: Final = ("open_clip", "torchvision", "timm")

_EXAMPLE: Final = """\
example:
  memdb-ingest --server localhost:7700 --user alice \\
      --camera front-door=door.mp4 --camera kitchen=rtsp://10.0.0.5/live
  memdb-ingest --config cameras.toml
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
    parser = _parser()
    given = vars(parser.parse_args(arguments))
    with loading():
        from memdb.errors import MemdbError
        from memdb.output import OutputLost, keep_standard_files, result_on_stdout
        from perception.arguments import labels
        from perception.settings import Settings, merged, read_settings

    keep_standard_files()
    try:
        config = given.pop("config", None)
        settings = Settings() if config is None else read_settings(Path(config))
        if "labels" in given:
            given["labels"] = labels(given["labels"])
        cameras = {**settings.cameras, **_named(given.pop("camera", []), settings.cameras)}
        options = merged(settings.common, given)
        absent = [name for name in ("server", "user") if not hasattr(options, name)]
        absent += [] if cameras else ["camera"]
        if absent:
            options_of = ", ".join(f"--{name}" for name in absent)
            parser.error(f"the following arguments are required: {options_of}, or in --config")
        of_cameras = {name: merged(settings.common, own, given) for name, own in cameras.items()}
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="memdb-ingest",
        description="Turn cameras and microphones into clips of memory. An ingest that was broken off goes on "
        "where it stopped when the same command is given again.",
        epilog=_EXAMPLE + "\n" + EXIT_CODES,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        # What is not given is in the file, or has its default.
        argument_default=argparse.SUPPRESS,
    )
    add = parser.add_argument
    add("--version", action="version", version=f"memdb-ingest {memdb.__version__}")
    add(
        "--config",
        metavar="FILE",
        help="settings in TOML, such as server, user and rate for all cameras, and below them a section "
        "[camera.NAME] for each, with its source and what it has of its own; options of the command line win",
    )
    add("--server", metavar="HOST:PORT", help="a running `memdb serve`")
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
    add("--user", help="whose memory")
    add(
        "--camera",
        action="append",
        metavar="NAME=SOURCE",
        help="a stream and its file, URL, pipe (/dev/stdin) or microphone (alsa:default); what has no pictures is "
        "heard alone; ${NAME} in it is an environment variable; may be given several times",
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
    add("--encoder", help="bundled, or open_clip:MODEL:CHECKPOINT")
    add("--space", help="name of the feature space (default: the encoder's)")
    add("--rate", type=float, help="frames a second (default: 1)")
    add("--realtime", action="store_true", help="read no faster than the media play")
    add(
        "--revise-every",
        type=int,
        metavar="N",
        help="frames between revisions of the open clip (default: 4; 0: none)",
    )
    add(
        "--codec",
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
        dest="labels",
        action="append",
        metavar="KEY=VALUE",
        help="a label of every clip, by which questions can be narrowed (memdb-ask --label): zone=porch (may be "
        "repeated)",
    )
    add(
        "--reconnect-s",
        type=float,
        metavar="SECONDS",
        help="how long a live camera that broke off or ended, or is not there at the start, is tried again, each time "
        "as a new epoch; inf: for ever. The others go on meanwhile (default: 0, it has ended)",
    )
    add("--no-audio", dest="audio", action="store_false", help="do not listen")
    add("--language", help="what is spoken (default: en)")
    add(
        "--whisper",
        metavar="NAME|DIR",
        help="whisper-tiny.en, whisper-base, or a CTranslate2 directory",
    )
    add("--ack-log", metavar="FILE", help="append a line of JSON per acknowledged clip")
    # One: cameras encode side by side, and a network on many threads waits for the slowest at each
    # of its layers, which on a busy machine makes it ten times slower.
    add("--threads", type=int, help="threads of the encoder per camera (default: 1)")
    return parser


def _ingest(options: argparse.Namespace, of_cameras: Mapping[str, argparse.Namespace]) -> int:
    """options: of the agent.  of_cameras: by name; ``source`` is in each."""
    silence_grpc()
    # Imported here: `--help` and a wrong option need none of it.
    with loading():
        import memdb_client
        from perception.agent import IngestAgent
        from perception.allocator import keep_memory
        from perception.arguments import at_least, server_address
        from perception.ingest_options import WINDOW_CLIPS
        from perception.patience import Patience
        from perception.reach import reach

    keep_memory()
    server_wait_s = _server_wait_s(options.server_wait_s)
    settings = _settings(options, server_wait_s)
    cameras = [_camera(name, own, server_wait_s) for name, own in of_cameras.items()]
    threads = at_least(options.threads, 1, "threads")
    server_address(options.server)
    # What is cheap to get wrong is looked at before the networks are loaded.
    with_audio = any(own.audio for own in of_cameras.values())
    has_video = _may_have_video(cameras, settings, with_audio=with_audio)

    # A server that is not there is told now, not after the networks are loaded.
    tls = authorities(options.tls)
    Patience(settings.server_wait_s, Event(), _to_stderr).call(
        partial(reach, options.server, options.token, tls=tls)
    )

    with (
        memdb_client.connect(options.server, token=options.token, tls=tls) as database,
        _ack_log(options.ack_log) as ack_log,
    ):
        encoder, hearing = _networks(
            options, threads, len(cameras), has_video=has_video, with_audio=with_audio
        )
        on_ack = None if ack_log is None else ack_log.record
        patience = {} if server_wait_s is None else {"reconnect_timeout_s": server_wait_s}

        def open_writer(stream: str, space: str, epoch: int) -> IngestWriter:
            codec = of_cameras[stream].codec
            handle = database.user(options.user).stream(stream, space=space, codec=codec)
            return handle.ingest(epoch=epoch, window=WINDOW_CLIPS, wait_for_room=True, **patience)

        agent = IngestAgent(
            database, options.user, cameras, encoder, hearing, settings,
            on_ack=on_ack, open_writer=open_writer, abandon=database.close,
        )  # fmt: skip
        return _run(agent, options.user)


def _settings(options: argparse.Namespace, server_wait_s: float | None) -> IngestOptions:
    """The options of all cameras, or of one, checked; ``server_wait_s`` is already."""
    from memdb.types.tensor import codec_named
    from memdb.types.times import as_ns, moment
    from memdb.types.zone import checked_zone
    from perception.arguments import at_least, within
    from perception.draft import clip_labels
    from perception.ingest_options import IngestOptions
    from perception.sources.file import checked_rate

    codec_named(options.codec)
    return IngestOptions(
        start_ns=None if options.start is None else as_ns(moment(options.start, "start"), "start"),
        epoch=options.epoch,
        space_name=options.space,
        rate_hz=checked_rate(options.rate),
        with_audio=options.audio,
        is_paced=options.realtime,
        revise_every=at_least(options.revise_every, 0, "revise-every"),
        codec=options.codec,
        zone=None if options.zone is None else checked_zone(options.zone),
        labels=clip_labels(options.labels),
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
    opened, absent = open_sources(looked_at, settings, with_audio=with_audio)
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


def _server_wait_s(given: float | None) -> float | None:
    """``--server-wait-s``, checked."""
    from memdb.types.checks import check_number

    if given is None or given == math.inf:
        return given
    return check_number(given, "server-wait-s", 0.0, SERVER_WAIT_S_MAX, above=True)


def _networks(
    options: argparse.Namespace,
    threads: int,
    cameras: int,
    *,
    has_video: bool,
    with_audio: bool,
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
    if with_audio:
        needed += _whisper_artefacts(options.whisper)
    announce(needed, _to_stderr)
    fetch_many(needed)
    _to_stderr("loading models")
    with loading():
        import torch

    torch.set_num_threads(threads)
    encoder = load_encoder(options.encoder) if has_video else None
    if not with_audio:
        return encoder, None
    return encoder, _hearing(options.whisper, options.language, cameras)


def _to_stderr(line: str) -> None:
    print(f"memdb-ingest: {line}", file=sys.stderr, flush=True)


def _ack_log(path: str | None) -> AbstractContextManager[AckLog | None]:
    from perception.ack_log import AckLog

    return nullcontext() if path is None else AckLog(Path(path))


def _named(
    texts: Iterable[str], of_file: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """The cameras of the command line by name; one that the file has too keeps the rest of its settings."""
    from memdb.errors import InvalidArgument
    from perception.sources.address import shown

    found: dict[str, dict[str, Any]] = {}
    for text in texts:
        name, separator, address = text.partition("=")
        if not separator or not address or "://" in name:
            raise InvalidArgument("a camera is NAME=SOURCE", field="camera", value=shown(text))
        if name in found:
            raise InvalidArgument(
                "every camera needs a name of its own", field="camera", value=name
            )
        found[name] = {**of_file.get(name, {}), "source": address}
    return found


def _camera(name: str, options: argparse.Namespace, server_wait_s: float | None) -> Camera:
    from memdb.errors import InvalidArgument
    from perception.camera import Camera

    try:
        return Camera(name, options.source, _settings(options, server_wait_s))
    except InvalidArgument as error:
        named = error.again()
        named.message = f"camera {name}: {error.message}"
        raise named from None


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
