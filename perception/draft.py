"""A clip in the making: frames come in, a `Clip` comes out, as often as it is asked for."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from PIL import Image

from memdb.errors import InvalidArgument
from memdb.text_encoder import TextEncoder
from memdb.types.clip import Clip, Keyframe, Utterance
from memdb.types.label_filter import checked_labels
from memdb.types.limits import LABELS_MAX
from perception.compressors.base import Compressor
from perception.encoders.base import Frame, FrameFeatures

KEYFRAME_WIDTH_MAX: Final = 320
KEYFRAME_QUALITY: Final = 80
SECOND_KEYFRAME_COSINE_MAX: Final = 0.9
"""A clip whose frames differ more than this is shown by two keyframes."""

OBJECTS_LABEL: Final = "objects"
"""The clip label that names what is seen: ``espresso, tripod``, likeliest first."""
OBJECTS_MAX: Final = 5
OBJECT_PROBABILITY_MIN: Final = 0.1
"""Of a name, averaged over the clip's frames."""


@dataclass(frozen=True, slots=True)
class ClipContext:
    """What every clip of one ingest has in common."""

    base_ns: int
    """Event time of media time 0."""
    period_ns: int
    """From one frame to the next."""
    epoch: int
    compressor: Compressor
    text_encoder: TextEncoder | None
    """Of the user's text space, where it is installed."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Beside what is seen."""


def clip_labels(given: Mapping[str, Sequence[str]], own: str = OBJECTS_LABEL) -> dict[str, str]:
    """The labels that all clips of an ingest have beside their ``own``, checked.

    Raises `InvalidArgument`: ``AMBIGUOUS`` for a key with two values, ``NOT_USED`` for their own,
    and as `memdb.types.label_filter.checked_labels`.
    """
    for key, values in given.items():
        if len(values) > 1:
            raise InvalidArgument(
                "a clip has one value of a key", reason="AMBIGUOUS", field="label", value=key
            )
        if key == own:
            raise InvalidArgument(
                "clips have this label of their own", reason="NOT_USED", field="label", value=key
            )
    checked = checked_labels(given or None)
    if len(checked) >= LABELS_MAX:
        raise InvalidArgument(
            f"at most {LABELS_MAX - 1}, beside the one that clips have of their own",
            reason="TOO_LARGE",
            field="label",
            value=len(checked),
        )
    return {key: value for key, (value,) in given.items()}


class ClipDraft:
    """The frames of one clip so far."""

    def __init__(self, context: ClipContext, seq: int) -> None:
        self._context = context
        self.seq = seq
        self._times_ns: list[int] = []
        self._features: list[FrameFeatures] = []
        self._jpegs: list[bytes] = []

    def __len__(self) -> int:
        return len(self._times_ns)

    @property
    def end_ns(self) -> int:
        """Media time at which it ends, as far as it goes."""
        return self._times_ns[-1] + self._context.period_ns

    def add(self, time_ns: int, pixels: Frame, features: FrameFeatures) -> None:
        """Take the next frame and its features, a `FrameFeatures` of one."""
        assert len(features) == 1
        self._times_ns.append(time_ns)
        self._features.append(features)
        self._jpegs.append(_jpeg(pixels))

    def build(self, utterances: Sequence[Utterance], *, sealed: bool) -> Clip:
        """The clip of the frames so far with these utterances, which are in media time."""
        context = self._context
        vectors = np.concatenate([features.frame_vectors for features in self._features])
        tokens = np.concatenate([features.region_tokens for features in self._features])
        memory = context.compressor.compress(vectors, tokens)
        transcript = tuple(shifted(utterance, context.base_ns) for utterance in utterances)
        features = None
        if transcript and context.text_encoder is not None:
            features = context.text_encoder.encode([item.text for item in transcript])
        return Clip(
            seq=self.seq,
            epoch=context.epoch,
            start_ns=context.base_ns + self._times_ns[0],
            end_ns=context.base_ns + self.end_ns,
            global_memory=memory.global_memory,
            short_memory=memory.short_memory,
            frames_per_token_row=memory.frames_per_token_row,
            transcript=transcript,
            transcript_features=features,
            keyframes=tuple(self._keyframes(vectors @ memory.global_memory, vectors)),
            labels=self._labels(),
            sealed=sealed,
        )

    def _keyframes(self, likeness: np.ndarray, vectors: np.ndarray) -> list[Keyframe]:
        """The frame most like the clip, and the one least like that one if it differs."""
        first = int(np.argmax(likeness))
        chosen = {first}
        to_first = vectors @ vectors[first]
        if float(to_first.min()) < SECOND_KEYFRAME_COSINE_MAX:
            chosen.add(int(np.argmin(to_first)))
        return [
            Keyframe(self._context.base_ns + self._times_ns[index], self._jpegs[index])
            for index in sorted(chosen)
        ]

    def _labels(self) -> dict[str, str]:
        totals: dict[str, float] = {}
        for features in self._features:
            for name, probability in features.labels[0]:
                totals[name] = totals.get(name, 0.0) + probability
        least = OBJECT_PROBABILITY_MIN * len(self)
        likely = sorted((-total, name) for name, total in totals.items() if total >= least)
        names = [name for _, name in likely[:OBJECTS_MAX]]
        return {**self._context.labels, **({OBJECTS_LABEL: ", ".join(names)} if names else {})}


def shifted(utterance: Utterance, by_ns: int) -> Utterance:
    """The same, so much later."""
    return Utterance(
        utterance.start_ns + by_ns,
        utterance.end_ns + by_ns,
        utterance.text,
        utterance.speaker,
        utterance.language,
    )


def _jpeg(pixels: Frame) -> bytes:
    image = Image.fromarray(pixels)
    image.thumbnail((KEYFRAME_WIDTH_MAX, image.height))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=KEYFRAME_QUALITY)
    return stream.getvalue()
