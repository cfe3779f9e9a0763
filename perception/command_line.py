"""The command line of `memdb-ingest`: its options, and what they say together with those of the settings file."""

from __future__ import annotations

# Little at the top, as in `perception.cli`.
import argparse
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import memdb
from memdb.types.authorities import TLS_HELP

if TYPE_CHECKING:
    from perception.camera import Camera
    from perception.ingest_options import IngestOptions

SERVER_WAIT_S_MAX: Final = 30 * 86_400.0
"""As the client: beyond it, for ever."""

_EXAMPLE: Final = """\
example:
  memdb-ingest --server localhost:7700 --user alice \\
      --camera front-door=door.mp4 --camera kitchen=rtsp://10.0.0.5/live
  memdb-ingest --config cameras.toml
"""


def parser(exit_codes: str) -> argparse.ArgumentParser:
    """What reads it; nothing that is not given is in the result."""
    made = argparse.ArgumentParser(
        prog="memdb-ingest",
        description="Turn cameras and microphones into clips of memory. An ingest that was broken off goes on "
        "where it stopped when the same command is given again.",
        epilog=_EXAMPLE + "\n" + exit_codes,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        # What is not given is in the file, or has its default.
        argument_default=argparse.SUPPRESS,
    )
    add = made.add_argument
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
        "--scene",
        type=float,
        metavar="COSINE",
        help="a picture that is no more like the one before than this begins a new clip of 3 or more (default: 0.9)",
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
    add("--language", metavar="CODE", help="what is spoken: en, de, ja (default: en)")
    add(
        "--sound-track",
        metavar="N|LANGUAGE",
        help="which of several sound tracks is heard: its number, from 1, or its language as the medium writes it, "
        "such as deu (default: the one that the medium marks, else the first)",
    )
    add(
        "--whisper",
        metavar="NAME|DIR",
        help="whisper-tiny.en, whisper-base, or a CTranslate2 directory",
    )
    add("--ack-log", metavar="FILE", help="append a line of JSON per acknowledged clip")
    # One: cameras encode side by side, and a network on many threads waits for the slowest at each
    # of its layers, which on a busy machine makes it ten times slower.
    add("--threads", type=int, help="threads of the encoder per camera (default: 1)")
    return made


def named(
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


def camera(name: str, options: argparse.Namespace, server_wait_s: float | None) -> Camera:
    from memdb.errors import InvalidArgument
    from perception.arguments import of_camera
    from perception.camera import Camera

    try:
        return Camera(name, options.source, settings(options, server_wait_s))
    except InvalidArgument as error:
        raise of_camera(error, name) from None


def settings(options: argparse.Namespace, server_wait_s: float | None) -> IngestOptions:
    """The options of all cameras, or of one, checked; ``server_wait_s`` is already."""
    from memdb.types.checks import check_int
    from memdb.types.limits import EPOCH_MAX
    from memdb.types.tensor import codec_named
    from memdb.types.times import as_ns, moment
    from memdb.types.zone import checked_zone
    from perception.arguments import at_least, sound_track, within
    from perception.draft import clip_labels
    from perception.ingest_options import IngestOptions
    from perception.sources.file import checked_rate

    codec_named(options.codec)
    return IngestOptions(
        start_ns=None if options.start is None else as_ns(moment(options.start, "start"), "start"),
        epoch=None if options.epoch is None else check_int(options.epoch, "epoch", 0, EPOCH_MAX),
        space_name=options.space,
        rate_hz=checked_rate(options.rate),
        with_audio=options.audio,
        language=options.language,
        sound_track=sound_track(options.sound_track),
        is_paced=options.realtime,
        revise_every=at_least(options.revise_every, 0, "revise-every"),
        scene=within(options.scene, -1.0, 1.0, "scene"),
        codec=options.codec,
        zone=None if options.zone is None else checked_zone(options.zone),
        labels=clip_labels(options.labels),
        reconnect_s=within(options.reconnect_s, 0.0, math.inf, "reconnect-s"),
        server_wait_s=server_wait_s or 0.0,
    )


def server_wait(given: float | None) -> float | None:
    """``--server-wait-s``, checked."""
    from memdb.types.checks import check_number

    if given is None or given == math.inf:
        return given
    return check_number(given, "server-wait-s", 0.0, SERVER_WAIT_S_MAX, above=True)
