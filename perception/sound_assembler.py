"""From the sound of a medium without pictures to its clips; no threads.

What `perception.assembler` is for pictures.  A clip holds what was said in it, and its global memory is the mean of
that in the user's text space, in which it is found by what is asked.  One in which nobody spoke is written too, so that
memory tells a time when nothing was said from one when nobody listened: no clip lasts over a hole of the sound.

Invariant: sealed clips depend on the medium alone.  Going on from any clip's start makes the same clips, from there on,
as hearing the medium from the beginning.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from memdb.text_encoder import TextEncoder
from memdb.types.clip import Clip, Utterance
from perception.audio.listener import Listener, middle_ns
from perception.draft import ClipContext, shifted
from perception.encoders.base import Floats
from perception.sound_clips import CLIP_MAX_NS, SoundCutter
from perception.sound_label import MEDIUM_LABEL, MEDIUM_SOUND
from perception.sources.base import AUDIO_RATE_HZ, NS_PER_S, AudioChunk, MediaItem

NOTHING_SAID: Final = "no speech"
"""Stands for a clip in which nobody spoke: a vector has to be of something."""


class SoundAssembler:
    """Makes the clips of one microphone or recording, numbered from ``first_seq``."""

    def __init__(
        self,
        context: ClipContext,
        text_encoder: TextEncoder,
        listener: Listener,
        *,
        first_seq: int = 0,
        from_ns: int = 0,
        has_revisions: bool = True,
    ) -> None:
        """from_ns: media time at which the last clip that is stored ended; its listener hears all the same from the
        beginning.  has_revisions: the open clip is given anew after each utterance.
        """
        self._context = context
        self._text_encoder = text_encoder
        self._listener = listener
        self._next_seq = first_seq
        self._from_ns = from_ns
        self._has_revisions = has_revisions
        self._cutter: SoundCutter | None = None
        self._nothing_said: Floats | None = None
        self._said: list[tuple[Utterance, Floats]] = []
        """In no sealed clip yet, with its row of the text space; middles ascend."""
        self._heard_ns = 0
        """Media time up to which there was sound."""
        self._is_in_hole = False
        self.frames = 0
        """None, ever."""
        self.utterances = 0
        """Utterances heard so far."""

    def take(self, item: MediaItem) -> list[Clip]:
        """Take the next sound; sealed clips, and perhaps a revision of the open one, in order."""
        if not isinstance(item, AudioChunk):
            return []
        start_ns = _at_ns(item.first_sample)
        cutter = self._cutter
        if cutter is None:
            cutter = self._cutter = SoundCutter(self._from_ns or start_ns)
            self._listener.on_speech = cutter.spoken
        is_news = self._hear(self._listener.hear(item))
        if item.is_hole:
            # What was said before it has ended: the detector waits for half a second.
            clips = self._end_at(cutter, min(self._heard_ns, start_ns))
            self._is_in_hole = True
            return clips
        if self._is_in_hole:
            self._is_in_hole = False
            cutter.start_ns = max(cutter.start_ns, start_ns)
        self._heard_ns = _at_ns(item.first_sample + len(item.samples))
        clips = self._sealed(cutter, self._listener.known_ns)
        if is_news and self._has_revisions and self._said:
            latest_ns = cutter.start_ns + CLIP_MAX_NS
            clips.append(
                self._clip(
                    self._next_seq,
                    cutter.start_ns,
                    min(max(self._heard_ns, cutter.start_ns + 1), latest_ns),
                    self._said_before(latest_ns),
                    sealed=False,
                )
            )
        return clips

    def finish(self) -> list[Clip]:
        """The medium has ended: everything left, sealed."""
        cutter = self._cutter
        if cutter is None:
            return []
        self._hear(self._listener.finish())
        return self._end_at(cutter, self._heard_ns)

    def _end_at(self, cutter: SoundCutter, end_ns: int) -> list[Clip]:
        """Everything up to there, sealed."""
        clips = self._sealed(cutter, end_ns)
        if end_ns > cutter.start_ns:
            said, self._said = self._said, []
            clips.append(self._clip(self._next_seq, cutter.start_ns, end_ns, said, sealed=True))
            self._next_seq += 1
            cutter.start_ns = end_ns
        return clips

    def _hear(self, utterances: list[Utterance]) -> bool:
        self.utterances += len(utterances)
        if utterances:
            rows = self._text_encoder.encode([item.text for item in utterances])
            self._said += zip(utterances, rows, strict=True)
        return bool(utterances)

    def _sealed(self, cutter: SoundCutter, known_ns: int) -> list[Clip]:
        clips = []
        start_ns = cutter.start_ns
        for end_ns in cutter.ends(known_ns):
            said = self._said_before(end_ns)
            self._said = self._said[len(said) :]
            clips.append(self._clip(self._next_seq, start_ns, end_ns, said, sealed=True))
            self._next_seq += 1
            start_ns = end_ns
        return clips

    def _said_before(self, end_ns: int) -> list[tuple[Utterance, Floats]]:
        return [
            (utterance, row)
            for utterance, row in self._said
            if middle_ns(utterance.start_ns, utterance.end_ns) < end_ns
        ]

    def _clip(
        self,
        seq: int,
        start_ns: int,
        end_ns: int,
        said: list[tuple[Utterance, Floats]],
        *,
        sealed: bool,
    ) -> Clip:
        base_ns = self._context.base_ns
        features = np.stack([row for _, row in said]) if said else None
        return Clip(
            seq=seq,
            epoch=self._context.epoch,
            start_ns=base_ns + start_ns,
            end_ns=base_ns + end_ns,
            global_memory=self._quiet() if features is None else _mean(features),
            transcript=tuple(shifted(utterance, base_ns) for utterance, _ in said),
            transcript_features=features,
            labels={**self._context.labels, MEDIUM_LABEL: MEDIUM_SOUND},
            sealed=sealed,
        )

    def _quiet(self) -> Floats:
        if self._nothing_said is None:
            self._nothing_said = self._text_encoder.encode([NOTHING_SAID])[0]
        return self._nothing_said


def _mean(rows: Floats) -> Floats:
    """The direction of the rows' mean; of the first where they cancel out."""
    mean = rows.mean(axis=0, dtype=np.float64)
    norm = float(np.linalg.norm(mean))
    whole: Floats = (mean / norm if norm > 1e-6 else rows[0]).astype(np.float32)
    return whole


def _at_ns(sample: int) -> int:
    return sample * NS_PER_S // AUDIO_RATE_HZ
