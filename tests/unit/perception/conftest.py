"""The bundled networks, loaded once; a test that needs one is skipped where it cannot be had."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from perception.audio.asr import Recogniser
from perception.audio.vad import VoiceActivity
from perception.errors import WeightsUnavailable
from perception.weights import fetch, fetch_many

if TYPE_CHECKING:
    from perception.encoders.conse import ConseEncoder


@pytest.fixture(scope="session")
def voice_activity() -> VoiceActivity:
    try:
        fetch_many(["silero-vad", "moonshine-voice/beckett.wav", "moonshine-voice/two_cities.wav"])
        return VoiceActivity(fetch("silero-vad"))
    except WeightsUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def recogniser() -> Recogniser:
    try:
        return Recogniser(fetch("whisper-tiny.en"))
    except WeightsUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def encoder() -> ConseEncoder:
    import torch

    from perception.encoders.conse import ConseEncoder

    # As the agent does: on a busy machine several threads wait for each other at every layer.
    torch.set_num_threads(1)
    try:
        return ConseEncoder()
    except WeightsUnavailable as error:
        pytest.skip(str(error))
