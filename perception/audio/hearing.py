"""What is needed to hear."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from perception.audio.vad import VoiceActivity
from perception.sources.base import Samples


@dataclass(frozen=True, slots=True)
class Hearing:
    """Shared by every camera of an agent."""

    network: VoiceActivity
    transcribe: Callable[[Samples, str], str]
    """From 16 kHz mono samples, and the language that is spoken, to what is said; called from the threads of several
    cameras."""
