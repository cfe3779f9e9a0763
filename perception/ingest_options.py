"""How an ingest agent ingests: what all its cameras have in common, or one has of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from perception.assembler import REVISE_EVERY
from perception.clips import COSINE_MAX

WINDOW_CLIPS: Final = 32
"""Clips in flight per camera."""

CODEC: Final = "delta"
"""What an agent takes where nobody chooses: cameras run for months, and a quarter of the bytes, on the wire as on
the disk, keeps the ranking of answers (docs/benchmarks.md has the figures).  A handle of the library that
is told nothing keeps what it is given to the bit instead."""


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """Of an agent, or of one camera: `perception.camera.Camera.options`."""

    start_ns: int | None = None
    """Event time of media time 0; None for now."""
    epoch: int | None = None
    """None for 0, and for the second of the start where a source is live."""
    space_name: str | None = None
    """None for the encoder's own name of its space; of an agent."""
    rate_hz: float = 1.0
    with_audio: bool = True
    """Listen, where the agent can."""
    language: str = "en"
    """What is spoken, a code such as ``en``."""
    sound_track: int | str | None = None
    """Which of several is heard: its number, from 1, or its language as the medium writes it; None for the one that the
    medium marks, else the first."""
    is_paced: bool = False
    """Read recorded media no faster than they play."""
    revise_every: int = REVISE_EVERY
    """Frames between revisions of the open clip; 0 for none."""
    scene: float = COSINE_MAX
    """A picture whose cosine to the one before is no greater begins a new clip (`perception.clips`)."""
    codec: str = CODEC
    """How short-term memory is coded, see `memdb.types.database.User.stream`."""
    zone: str | None = None
    """Time zone of the cameras, an IANA name; None for that which they have, UTC for new ones."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Of every clip, beside what is seen: `perception.draft.clip_labels`."""
    reconnect_s: float = 0.0
    """How long a live source that ended or broke off, or was not there at the start, is tried again, `math.inf` for
    ever; each time it answers begins an epoch.
    """
    server_wait_s: float = 0.0
    """How long a server that is away is waited for where an epoch begins, `math.inf` for ever; once it has begun, that
    is up to the writer.  Of an agent.
    """
