"""What the recogniser refuses; what it hears is in `test_audio`."""

from __future__ import annotations

import pytest

from memdb import InvalidArgument
from perception.audio.asr import Recogniser
from perception.errors import WeightsUnavailable
from perception.weights import fetch

pytestmark = pytest.mark.weights


@pytest.mark.parametrize("language", ["xx", "de", ""])
def test_a_language_that_the_model_does_not_know(language: str) -> None:
    try:
        folder = fetch("whisper-tiny.en")
    except WeightsUnavailable as error:
        pytest.skip(str(error))
    with pytest.raises(InvalidArgument, match="English only") as caught:
        Recogniser(folder).check_language(language)
    assert (caught.value.reason, caught.value.field) == ("BAD_LANGUAGE", "language")
