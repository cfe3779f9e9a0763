"""The settings file of `memdb-ingest`: what is said of all cameras, and below it a section for each.

TOML, the keys named as the options of the command line; docs/operations.md has an example.  No value is ever
quoted in an error: a slip of the pen may have put a password under any key.
"""

from __future__ import annotations

import re
import tomllib
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from memdb.errors import InvalidArgument
from perception.sources.address import resolved

_TEXT: Final = "text in quotes"
_WHOLE: Final = "a whole number"
_NUMBER: Final = "a number"
_EITHER: Final = "true or false"
_TIME: Final = "a time with its offset, such as 2026-01-05T09:00:00Z"
_TRACK: Final = 'a whole number from 1, or a language in quotes, such as "deu"'
_LABELS: Final = 'a table of texts, such as { zone = "porch" }'

_OF_AGENT: Final[Mapping[str, str]] = {
    "server": _TEXT, "token": _TEXT, "tls": _TEXT, "server_wait_s": _NUMBER, "user": _TEXT,
    "encoder": _TEXT, "space": _TEXT, "whisper": _TEXT, "ack_log": _TEXT,
    "threads": _WHOLE,
}  # fmt: skip
"""Only above the cameras."""
_OF_ANY_CAMERA: Final[Mapping[str, str]] = {
    "start": _TIME, "epoch": _WHOLE, "rate": _NUMBER, "realtime": _EITHER, "revise_every": _WHOLE,
    "codec": _TEXT, "zone": _TEXT, "labels": _LABELS, "reconnect_s": _NUMBER, "audio": _EITHER,
    "language": _TEXT, "sound_track": _TRACK, "scene": _NUMBER,
}  # fmt: skip
"""Above the cameras for all of them, and in the section of one."""
_OF_ONE_CAMERA: Final[Mapping[str, str]] = {"source": _TEXT, **_OF_ANY_CAMERA}

_DEFAULTS: Final[Mapping[str, Any]] = {
    "token": None, "tls": None, "server_wait_s": None, "ack_log": None, "threads": 1,
    "encoder": "bundled", "space": None, "whisper": "whisper-tiny.en",
    "start": None, "epoch": None, "rate": 1.0, "realtime": False, "revise_every": 4,
    "codec": "delta", "zone": None, "labels": {}, "reconnect_s": 0.0, "audio": True,
    "language": "en", "sound_track": None, "scene": 0.9,
}  # fmt: skip
"""Of what nobody says; whose memory, and where, has none."""

_ELSEWHERE: Final[Mapping[str, str]] = {
    "fps": "rate", "url": "source", "path": "source", "input": "source", "timezone": "zone", "tz": "zone",
    "label": "labels", "lang": "language", "track": "sound_track", "threshold": "scene", "no_audio": "audio",
    "camera": "source", "stream": "source", "host": "server", "address": "server",
}  # fmt: skip
"""What other programs call it."""
_SECTIONS: Final = ("cameras", "cam", "stream", "streams", "source", "sources")
"""What the sections of cameras may be taken to be called."""
_ADDRESSES: Final = ("server", "token")
"""Resolved here; a camera's source stays as it is written until it is opened."""
_TWICE: Final = re.compile(r"Cannot declare \((.*?),?\) twice")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the file says, checked for its form alone: a key that it lacks is in none of these.

    A ``start`` is text, ``labels`` are lists of one value each: as the command line gives them.
    """

    common: Mapping[str, Any] = field(default_factory=dict)
    """Of the agent, and of all cameras."""
    cameras: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By name; a ``source`` is in each."""


def read_settings(path: Path) -> Settings:
    """The settings in the file at ``path``.

    Raises `InvalidArgument`: ``BAD_SETTINGS`` with the section and the key, or the line of what is no TOML,
    and ``NOT_SET`` for an environment variable.
    """
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        message = _TWICE.sub(_section_twice, getattr(error, "strerror", None) or str(error))
        raise _refused(path, message) from error
    cameras = document.pop("camera", {})
    if not isinstance(cameras, dict):
        raise _refused(path, "camera: expected a section for each, such as [camera.porch]")
    common = _checked(path, "", document, {**_OF_AGENT, **_OF_ANY_CAMERA})
    for key in _ADDRESSES:
        if key in common:
            common[key] = resolved(common[key], key)
    return Settings(common, {name: _camera(path, name, cameras[name]) for name in cameras})


def merged(*layers: Mapping[str, Any]) -> Namespace:
    """The settings of an agent or a camera: later layers win, of labels key by key; the rest have their defaults."""
    found = dict(_DEFAULTS)
    for layer in layers:
        found |= layer
    found["labels"] = {
        key: values for layer in layers for key, values in layer.get("labels", {}).items()
    }
    return Namespace(**found)


def _camera(path: Path, name: str, section: object) -> dict[str, Any]:
    where = f"[camera.{name}]"
    if not isinstance(section, dict):
        raise _refused(path, f"camera.{name}: expected a section {where}, with a source")
    found = _checked(path, f"{where} ", section, _OF_ONE_CAMERA)
    if not found.get("source"):
        raise _refused(path, f"{where} has no source")
    resolved(found["source"], f"camera.{name}.source")
    return found


def _checked(
    path: Path, where: str, table: Mapping[str, Any], kinds: Mapping[str, str]
) -> dict[str, Any]:
    """``table``, if it has no keys but those of ``kinds``, each with a value of its kind."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        if key not in kinds:
            raise _refused(path, f"{where}{key}: {_unknown(key, kinds)}")
        if not _is_of(kinds[key], value):
            raise _refused(path, f"{where}{key}: expected {kinds[key]}")
        if kinds[key] == _LABELS:
            found[key] = {name: [text] for name, text in value.items()}
        else:
            found[key] = value.isoformat() if isinstance(value, datetime) else value
    return found


def _unknown(key: str, kinds: Mapping[str, str]) -> str:
    if key in _OF_AGENT:
        return "is of all cameras together, and stands above the first [camera.NAME]"
    if key in _OF_ONE_CAMERA:
        return "is of one camera, and stands below its [camera.NAME]"
    if kinds is not _OF_ONE_CAMERA and key in _SECTIONS:
        return "no such key; a camera has a section [camera.NAME]"
    near = [_ELSEWHERE[key]] if _ELSEWHERE.get(key) in kinds else get_close_matches(key, kinds, 1)
    return f"no such key; did you mean {near[0]}?" if near else f"no such key; {', '.join(kinds)}"


def _is_of(kind: str, value: object) -> bool:
    if kind == _EITHER:
        return isinstance(value, bool)
    if kind == _TEXT:
        return isinstance(value, str)
    if kind == _TRACK:
        return isinstance(value, (str, int)) and not isinstance(value, bool)
    if kind == _TIME:
        return isinstance(value, (str, datetime))
    if kind == _LABELS:
        return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())
    wanted = int if kind == _WHOLE else (int, float)
    return isinstance(value, wanted) and not isinstance(value, bool)


def _section_twice(found: re.Match[str]) -> str:
    names = re.findall("'([^']*)'", found[1])
    return f"[{'.'.join(names)}] is there twice"


def _refused(path: Path, message: str) -> InvalidArgument:
    return InvalidArgument(message, reason="BAD_SETTINGS", field="config", value=str(path))
