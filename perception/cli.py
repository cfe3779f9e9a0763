"""`memdb-ingest`: cameras to clips in memdb.

Exit codes: 0 everything ingested (or stopped by a signal, everything seen so far acknowledged), 2 a
wrong option, 3 a source that is absent or unreadable, 4 a server that cannot be reached or went
away, 5 weights that cannot be had, 1 anything else.  Progress goes to stderr, one line of JSON at
the end to stdout.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from memdb.errors import InvalidArgument, MemdbError, Unavailable
from memdb.types.times import as_ns, as_text
from perception.errors import (
    SourceNotFound,
    SourceUnreadable,
    WeightsDamaged,
    WeightsUnavailable,
)

if TYPE_CHECKING:
    from perception.ack_log import AckLog
    from perception.agent import Camera, CameraReport, Hearing

EXIT_OTHER: Final = 1
EXIT_USAGE: Final = 2
EXIT_SOURCE: Final = 3
EXIT_UNAVAILABLE: Final = 4
EXIT_WEIGHTS: Final = 5

CONNECT_TIMEOUT_S: Final = 5.0

_EXAMPLE: Final = """\
example:
  memdb-ingest --server localhost:7700 --user alice \\
      --camera front-door=door.mp4 --camera kitchen=rtsp://10.0.0.5/live
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return _ingest(options)
    except MemdbError as error:
        print(f"memdb-ingest: {error}", file=sys.stderr)
        return exit_code(error)


def exit_code(error: BaseException) -> int:
    """The exit code that says what kind of error this is."""
    if isinstance(error, (SourceNotFound, SourceUnreadable)):
        return EXIT_SOURCE
    if isinstance(error, (WeightsUnavailable, WeightsDamaged)):
        return EXIT_WEIGHTS
    if isinstance(error, Unavailable):
        return EXIT_UNAVAILABLE
    if isinstance(error, InvalidArgument):
        return EXIT_USAGE
    return EXIT_OTHER


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="memdb-ingest",
        description="Turn cameras into clips of memory. An ingest that was broken off goes on "
        "where it stopped when the same command is given again.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--server", required=True, metavar="HOST:PORT", help="a running `memdb serve`")
    add("--token", help="token of the user, where the server asks for one")
    add("--user", required=True, help="whose memory")
    add(
        "--camera",
        required=True,
        action="append",
        metavar="NAME=SOURCE",
        help="a stream and its file or URL; may be given several times",
    )
    add("--start", metavar="RFC3339", help="when recorded media began (default: now)")
    add("--epoch", type=int, help="run of the agent (default: 0; live: the second it began)")
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
    # Imported here: `--help` and a wrong option need none of it.
    from perception.agent import IngestAgent, IngestOptions, open_sources

    cameras = [_camera(text) for text in options.camera]
    settings = IngestOptions(
        start_ns=_start_ns(options.start),
        epoch=options.epoch,
        space_name=options.space,
        rate_hz=options.rate,
        is_paced=options.realtime,
        revise_every=_at_least(options.revise_every, 0, "revise-every"),
    )
    # What is cheap to get wrong is looked at before the networks are loaded.
    for source in open_sources(cameras, options.rate, with_audio=False).values():
        source.close()

    import memdb_client

    # A server that is not there is told now, not after the patience of a long ingest.
    with memdb_client.connect(
        options.server, token=options.token, timeout_s=CONNECT_TIMEOUT_S
    ) as probe:
        probe.spaces()

    with (
        memdb_client.connect(options.server, token=options.token) as database,
        _ack_log(options.ack_log) as ack_log,
    ):
        _set_threads(options.threads)
        from perception.encoders import load_encoder

        encoder = load_encoder(options.encoder)
        hearing = (
            None if options.no_audio else _hearing(options.whisper, options.language, len(cameras))
        )
        on_ack = None if ack_log is None else ack_log.record
        agent = IngestAgent(
            database, options.user, cameras, encoder, hearing, settings, on_ack=on_ack
        )
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: agent.stop())
        reports = agent.run()
    print(json.dumps({"user": options.user, "cameras": [_summary(item) for item in reports]}))
    errors = [report.error for report in reports if report.error is not None]
    for error in errors:
        print(f"memdb-ingest: {error}", file=sys.stderr)
    return exit_code(errors[0]) if errors else 0


def _ack_log(path: str | None) -> AbstractContextManager[AckLog | None]:
    from perception.ack_log import AckLog

    return nullcontext() if path is None else AckLog(Path(path))


def _camera(text: str) -> Camera:
    from perception.agent import Camera

    name, separator, address = text.partition("=")
    if not separator or not address:
        raise InvalidArgument("a camera is NAME=SOURCE", field="camera", value=text)
    return Camera(name, address)


def _start_ns(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidArgument("not an RFC 3339 time", field="start", value=text) from error
    return as_ns(moment, "start")


def _at_least(value: int, least: int, name: str) -> int:
    if value < least:
        raise InvalidArgument(f"at least {least}", reason="OUT_OF_RANGE", field=name, value=value)
    return value


def _set_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(_at_least(threads, 1, "threads"))


def _hearing(whisper: str, language: str, cameras: int) -> Hearing:
    from perception.agent import Hearing
    from perception.artefacts import ARTEFACTS
    from perception.audio.asr import Recogniser
    from perception.audio.vad import VoiceActivity
    from perception.weights import fetch_many

    if whisper in ARTEFACTS:
        paths = fetch_many([whisper, "silero-vad"])
    elif Path(whisper).is_dir():
        paths = {whisper: Path(whisper), **fetch_many(["silero-vad"])}
    else:
        raise InvalidArgument(
            "neither a known model nor a directory", field="whisper", value=whisper
        )
    recogniser = Recogniser(
        paths[whisper], language=language, workers=min(cameras, os.cpu_count() or 1)
    )
    return Hearing(VoiceActivity(paths["silero-vad"]), recogniser.transcribe, language)


def _summary(report: CameraReport) -> dict[str, object]:
    progress = report.progress
    return {
        "camera": report.camera,
        "epoch": report.epoch,
        "start": as_text(report.start_ns),
        "resumed_from_seq": report.resumed_from_seq,
        "next_seq": report.resumed_from_seq + progress.clips,
        "clips": progress.clips,
        "acks": progress.acks,
        "frames": progress.frames,
        "utterances": progress.utterances,
        "media_s": round(progress.media_ns / 1e9, 3),
        "wall_s": round(report.wall_s, 3),
        "error": None if report.error is None else str(report.error),
    }


if __name__ == "__main__":
    sys.exit(main())
