"""Addresses of cameras: what kind each is, and how it is told, without what is secret in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

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


def shown(address: str) -> str:
    """As it is told: who asks, and by which password, is nobody's business who reads a log."""
    if "://" not in address:
        return address
    return _SECRET.sub(rf"\1{_HIDDEN}", _WHO.sub(f"{_HIDDEN}@", address))


def plays_once(address: str) -> bool:
    """Whether what is read of it is gone: a pipe, such as ``/dev/stdin`` is."""
    return not scheme(address) and device(address) is None and Path(address).is_fifo()


def may_appear(address: str) -> bool:
    """Whether what is absent may be there later by itself: a microphone, or what is at the other end of a network."""
    return bool(scheme(address)) or device(address) is not None


def device(address: str) -> str | None:
    """The kind of sound card that an address names; None for a file of that name, and for any other."""
    head, separator, _ = address.partition(":")
    is_device = separator and head in DEVICES and not Path(address).exists()
    return head if is_device else None


def scheme(address: str) -> str:
    """``rtsp``, ``http`` and so on, in small letters; empty for what is no URL."""
    head, separator, _ = address.partition("://")
    return head.lower() if separator else ""
