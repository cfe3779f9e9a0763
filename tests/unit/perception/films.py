"""Small films for the tests: photographs one after another, with speech laid under them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.video.frame import PictureType
from PIL import Image

from perception.sources.base import AUDIO_RATE_HZ
from perception.weights import fetch

WIDTH, HEIGHT, FRAME_RATE = 320, 180, 10
SOUND_RATE_HZ = 48_000
PIECE_SAMPLES = SOUND_RATE_HZ // FRAME_RATE

Sound = npt.NDArray[np.float32]


def photo(name: str) -> Image.Image:
    with Image.open(fetch(f"scikit-image/{name}")) as image:
        return image.convert("RGB")


def flat(red: int, green: int, blue: int) -> Image.Image:
    return Image.new("RGB", (WIDTH, HEIGHT), (red, green, blue))


def speech(name: str, rate_hz: int = AUDIO_RATE_HZ) -> Sound:
    """A recording as mono float32."""
    with av.open(str(fetch(f"moonshine-voice/{name}"))) as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=rate_hz)
        pieces = [
            piece.to_ndarray()[0]
            for frame in (*container.decode(audio=0), None)
            for piece in resampler.resample(frame)
        ]
    return np.concatenate(pieces).astype(np.float32)


def write_film(
    path: Path,
    scenes: Sequence[tuple[Image.Image, float]],
    sound: Sound | None = None,
    *,
    frame_rate: int = FRAME_RATE,
    container: str = "mp4",
) -> Path:
    """A file of the scenes, (picture, seconds) each; ``sound`` is mono at `SOUND_RATE_HZ`."""
    with av.open(str(path), "w", format=container) as output:
        video = output.add_stream("libx264", rate=frame_rate)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.options = {"preset": "ultrafast", "g": "20"}
        audio = None
        if sound is not None:
            audio = output.add_stream("aac", rate=SOUND_RATE_HZ, layout="mono")
        step = SOUND_RATE_HZ // frame_rate
        pictures = [
            np.asarray(picture.resize((WIDTH, HEIGHT)))
            for picture, seconds in scenes
            for _ in range(round(seconds * frame_rate))
        ]
        for index, pixels in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.pict_type = index, PictureType.NONE
            output.mux(video.encode(frame))
            if audio is not None and sound is not None:
                piece = np.zeros(step, np.float32)
                cut = sound[index * step : (index + 1) * step]
                piece[: len(cut)] = cut
                samples = av.AudioFrame.from_ndarray(piece[None], format="fltp", layout="mono")
                samples.sample_rate, samples.pts = SOUND_RATE_HZ, index * step
                output.mux(audio.encode(samples))
        output.mux(video.encode(None))
        if audio is not None:
            output.mux(audio.encode(None))
    return path
