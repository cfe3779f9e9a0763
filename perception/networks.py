"""The networks of an agent: what sees its pictures, and what hears its sound."""

from __future__ import annotations

# Little at the top, as in `perception.cli`.
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from memdb.interrupts import loading

if TYPE_CHECKING:
    from perception.audio.hearing import Hearing
    from perception.encoders.base import Encoder

_WHISPER: Final = "whisper-"
"""How names of what can hear begin, among all that can be fetched."""


def check_networks(encoder_name: str, whisper: str | None, spoken: Mapping[str, str]) -> None:
    """Raises `InvalidArgument` for arguments of `networks` that are wrong by themselves; loads nothing."""
    from perception.artefacts import ARTEFACTS
    from perception.audio.languages import ENGLISH, ENGLISH_ONLY, check_language
    from perception.encoders import check_encoder

    check_encoder(encoder_name)
    if whisper is None:
        return
    _whisper_artefacts(whisper)
    if whisper in ARTEFACTS and whisper.endswith(ENGLISH_ONLY):
        _check_languages(spoken, lambda language: check_language(language, ENGLISH))


def networks(
    encoder_name: str | None,
    whisper: str | None,
    spoken: Mapping[str, str],
    threads: int,
    *,
    report_line: Callable[[str], None],
) -> tuple[Encoder | None, Hearing | None]:
    """What sees, and what hears; told by ``report_line``, as it takes seconds, or minutes the first time.

    encoder_name: None where there is nothing to be seen.  whisper: a known model or a directory; None where nobody
    listens.  spoken: the language of each camera that is listened to.  threads: of the encoder.
    """
    with loading():
        from perception.encoders import BUNDLED, load_encoder
        from perception.encoders.needs import BUNDLED_ARTEFACTS, BUNDLED_TEXT_ARTEFACTS
        from perception.weights import announce, fetch_many

    needed: list[str] = []
    if encoder_name is None:
        needed += BUNDLED_TEXT_ARTEFACTS
    elif encoder_name == BUNDLED:
        needed += BUNDLED_ARTEFACTS
    if whisper is not None:
        needed += _whisper_artefacts(whisper)
    announce(needed, report_line)
    fetch_many(needed)
    report_line("loading models")
    with loading():
        import torch

    torch.set_num_threads(threads)
    encoder = None if encoder_name is None else load_encoder(encoder_name)
    return encoder, None if whisper is None else _hearing(whisper, spoken)


def _whisper_artefacts(whisper: str) -> list[str]:
    """What has to be fetched to hear."""
    from memdb.errors import InvalidArgument
    from perception.artefacts import ARTEFACTS

    known = [name for name in ARTEFACTS if name.startswith(_WHISPER)]
    if whisper in known:
        return [whisper, "silero-vad"]
    try:
        if Path(whisper).is_dir():
            return ["silero-vad"]
    except OSError:
        pass  # Its name is too long, or it may not be looked at: refused below.
    raise InvalidArgument(
        f"neither a known model ({', '.join(known)}) nor a directory",
        field="whisper",
        value=whisper,
    )


def _hearing(whisper: str, spoken: Mapping[str, str]) -> Hearing:
    from perception.artefacts import ARTEFACTS
    from perception.audio.asr import Recogniser
    from perception.audio.hearing import Hearing
    from perception.audio.vad import VoiceActivity
    from perception.weights import fetch

    recogniser = Recogniser(
        fetch(whisper) if whisper in ARTEFACTS else Path(whisper),
        workers=min(len(spoken), os.cpu_count() or 1),
    )
    _check_languages(spoken, recogniser.check_language)
    return Hearing(VoiceActivity(fetch("silero-vad")), recogniser.transcribe)


def _check_languages(spoken: Mapping[str, str], check: Callable[[str], None]) -> None:
    """Raises what ``check`` does, told of the camera."""
    from memdb.errors import InvalidArgument
    from perception.arguments import of_camera

    for camera, language in spoken.items():
        try:
            check(language)
        except InvalidArgument as error:
            raise of_camera(error, camera) from None
