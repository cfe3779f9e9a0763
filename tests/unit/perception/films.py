"""Small films for the tests: photographs one after another, with speech laid under them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
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
    coarseness: int = 23,
) -> Path:
    """A file of the scenes, (picture, seconds) each; ``sound`` is mono at `SOUND_RATE_HZ`."""
    with av.open(str(path), "w", format=container) as output:
        video = output.add_stream("libx264", rate=frame_rate)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.options = {"preset": "ultrafast", "g": "20", "crf": str(coarseness)}
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


def write_slides(
    path: Path,
    times_s: Sequence[float],
    sound_s: Sequence[tuple[float, float]] = (),
    *,
    options: dict[str, str] | None = None,
) -> Path:
    """A Matroska file of a picture at each time, of another colour each, under sound in these stretches."""
    with av.open(str(path), "w", format="matroska", options=options or {}) as output:
        video = output.add_stream("libx264", rate=FRAME_RATE)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.codec_context.time_base = Fraction(1, 1000)
        # A picture is whole as it comes: none waits for later ones.
        video.options = {"preset": "ultrafast", "tune": "zerolatency", "g": "3"}
        audio = output.add_stream("pcm_s16le", rate=8000, layout="mono") if sound_s else None
        packets = []
        for number, at_s in enumerate(times_s):
            pixels = np.asarray(flat(40 * number % 256, 90, 200))
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = round(1000 * at_s), Fraction(1, 1000)
            frame.pict_type = PictureType.NONE
            packets += video.encode(frame)
        packets += video.encode(None)
        for begin_s, end_s in sound_s:
            for at in range(round(8000 * begin_s), round(8000 * end_s), 1600):
                samples = av.AudioFrame.from_ndarray(np.zeros((1, 1600), "<i2"), "s16", "mono")
                samples.sample_rate, samples.pts, samples.time_base = 8000, at, Fraction(1, 8000)
                assert audio is not None
                packets += audio.encode(samples)
        for packet in sorted(packets, key=lambda one: (one.dts or 0) * (one.time_base or 0)):
            output.mux(packet)
    return path
