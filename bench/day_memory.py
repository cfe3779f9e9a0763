"""A generated day through the perception pipeline: frames to clips, with what was said and heard in them."""

from __future__ import annotations

from dataclasses import replace

from bench.day import SECOND_NS, Day, Stretch
from bench.day_camera import DayCamera
from memdb import Clip
from memdb.types.database import User
from perception.assembler import ClipAssembler
from perception.audio.listener import middle_ns
from perception.compressors.pooled import PooledCompressor
from perception.draft import ClipContext
from perception.encoders.base import Encoder
from perception.encoders.text import BundledTextEncoder
from perception.ingest_options import CODEC
from perception.sources.base import VideoFrame


def clips_of_day(
    day: Day, cameras: dict[str, DayCamera], encoder: Encoder, text: BundledTextEncoder
) -> dict[str, list[Clip]]:
    """The sealed clips of each camera.

    Pictures go frame by frame through the encoder, the clip rule and the compressor, as `memdb-ingest` has them.
    Utterances and sounds are given, not heard (Whisper would take hours for a day): each belongs to the clip that its
    middle lies in.
    """
    made: dict[str, list[Clip]] = {camera: [] for camera in cameras}
    for stretch in day.stretches:
        clips = made[stretch.camera]
        context = ClipContext(stretch.start_ns, SECOND_NS, 0, PooledCompressor(), None)
        assembler = ClipAssembler(context, encoder, None, first_seq=len(clips), revise_every=0)
        sealed: list[Clip] = []
        for second, pixels in enumerate(stretch.frames(cameras[stretch.camera])):
            sealed += assembler.take(VideoFrame(second * SECOND_NS, pixels))
        sealed += assembler.finish()
        clips += [_with_sound(clip, stretch, text) for clip in sealed]
    return made


def write_day(user: User, clips: dict[str, list[Clip]], space: str) -> None:
    """Write every clip, as an agent codes them."""
    user.configure(text_space=space)
    for camera, own in clips.items():
        user.stream(camera, space=space, codec=CODEC).write_many(own)


def _with_sound(clip: Clip, stretch: Stretch, text: BundledTextEncoder) -> Clip:
    said = tuple(
        one
        for one in stretch.utterances
        if clip.start_ns <= middle_ns(one.start_ns, one.end_ns) < clip.end_ns
    )
    heard = tuple(
        one
        for one in stretch.events
        if clip.start_ns <= middle_ns(one.start_ns, one.end_ns) < clip.end_ns
    )
    features = text.encode([one.text for one in said]) if said else None
    return replace(clip, transcript=said, transcript_features=features, events=heard)
