"""Addresses of cameras: what kind each is, and how it is told, without what is secret in it.

``${NAME}`` in an address is an environment variable.  It is resolved where the address is looked into or opened, and
nowhere before, so that who tells an address cannot tell what the variable holds.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Final

from memdb.errors import InvalidArgument

DEVICES: Final = ("alsa", "pulse", "oss")
"""Kinds of sound cards: ``alsa:default``, ``alsa:hw:1,0``, ``oss:/dev/dsp``; FFmpeg is built with some of them."""

LIVE_SCHEMES: Final = frozenset({"rtsp", "rtsps", "rtmp", "rtmps", "srt", "udp", "rtp"})

_HIDDEN: Final = "***"
_WHO: Final = re.compile(r"(?<=://)[^/]*@")
"""Up to the last, since passwords have such signs too."""
_SECRET: Final = re.compile(
    r"(?<=[?&])([^=&#]*(?:user|usr|login|pas|pwd|token|auth|key|secret|credential|sig)[^=&#]*=)[^&#]*",
    re.IGNORECASE,
)
"""``passphrase`` of SRT, ``access_token``, ``api_key`` and ``loginpas`` as well: makers name it as they like."""

_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def resolved(address: str, field: str = "source") -> str:
    """With the values of its environment variables; to be told to nobody.

    Raises `InvalidArgument` (``NOT_SET``) for one that is not set.
    """

    def value(found: re.Match[str]) -> str:
        text = os.environ.get(found[1])
        if text is None:
            raise InvalidArgument(
                "this environment variable is not set",
                reason="NOT_SET",
                field=field,
                value=found[1],
            )
        return text

    return _VARIABLE.sub(value, address)


def shown(address: str) -> str:
    """As it is told: who asks, and by which password, is nobody's business who reads a log."""
    if "://" not in address:
        return address
    return _SECRET.sub(rf"\1{_HIDDEN}", _WHO.sub(f"{_HIDDEN}@", address))


def plays_once(address: str) -> bool:
    """Whether what is read of it is gone: a pipe, such as ``/dev/stdin`` is."""
    if scheme(address) or device(address) is not None:
        return False
    return stat.S_ISFIFO(_mode(resolved(address)))


def is_file(address: str) -> bool:
    """Whether it is a file, by its path or as ``file://``: no URL of a network is looked for on the disk."""
    return scheme(address) in ("", "file") and stat.S_ISREG(
        _mode(resolved(address).removeprefix("file://"))
    )


def may_appear(address: str) -> bool:
    """Whether what is absent may be there later by itself: a microphone, or what is at the other end of a network."""
    return bool(scheme(address)) or device(address) is not None


def device(address: str) -> str | None:
    """The kind of sound card that an address names; None for a file of that name, and for any other."""
    address = resolved(address)
    head, separator, _ = address.partition(":")
    is_device = separator and head in DEVICES and not _mode(address)
    return head if is_device else None


def scheme(address: str) -> str:
    """``rtsp``, ``http`` and so on, in small letters; empty for what is no URL."""
    head, separator, _ = resolved(address).partition("://")
    return head.lower() if separator else ""


def _mode(path: str) -> int:
    """Of what lies there; 0 where nothing does, or the system does not say: opening it tells why."""
    try:
        return Path(path).stat().st_mode
    except (OSError, ValueError):
        return 0
