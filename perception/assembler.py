"""Frames and sound to clips: the clip rule, the encoder, the listener and the drafts, put together;
no threads.

A clip that the rule has ended waits until its sound is heard to the end: until no utterance that is
still to come can have its middle in it.  Then it is sealed, with the utterances whose middle lies
before its end and in no earlier clip. Where sound stays away while pictures go on, a clip waits for
`STALL_NS` of pictures and no longer; what is said later goes to a later clip.  The last clip takes
what is said after its end.  What showed nothing for a while (`HOLE_NS`) begins a new clip, since nobody
knows what there was.

Invariant: sealed clips depend on the medium alone.  Ingesting from any clip's start makes the same
clips, from there on, as ingesting from the beginning.
"""

from __future__ import annotations

from typing import Final

from memdb.types.clip import Clip, Utterance
from perception.audio.listener import Listener, middle_ns
from perception.clips import ClipCutter, ClipRule
from perception.draft import ClipContext, ClipDraft
from perception.encoders.base import Encoder, Frame, FrameFeatures
from perception.sources.base import HOLE_NS, NS_PER_S, AudioChunk, MediaItem, VideoFrame

STALL_NS: Final = 30 * NS_PER_S
REVISE_EVERY: Final = 4


class ClipAssembler:
    """Makes the clips of one stream, numbered from ``first_seq``."""

    def __init__(
        self,
        context: ClipContext,
        encoder: Encoder,
        listener: Listener | None,
        *,
        first_seq: int = 0,
        revise_every: int = REVISE_EVERY,
        rule: ClipRule | None = None,
    ) -> None:
        """revise_every: frames between two revisions of the open clip; 0 for none."""
        self._context = context
        self._encoder = encoder
        self._listener = listener
        self._next_seq = first_seq
        self._revise_every = revise_every
        self._rule = rule
        self._cutter = ClipCutter(rule)
        self._open: ClipDraft | None = None
        self._waiting: list[ClipDraft] = []
        self._utterances: list[Utterance] = []
        self._seen_ns = 0
        self._newest: tuple[Frame, FrameFeatures] | None = None
        """A picture that stands is looked at once."""
        self.frames = 0
        """Frames taken so far."""
        self.utterances = 0
        """Utterances heard so far."""

    def take(self, item: MediaItem) -> list[Clip]:
        """Take the next item; sealed clips, and perhaps a revision of the open one, in order."""
        if isinstance(item, AudioChunk):
            self._hear(item)
            return self._seal_settled()
        revised = self._see(item)
        clips = self._seal_settled()
        # Revisions come after everything before them is sealed: numbers go up.
        if revised is not None and not self._waiting:
            middle_before = revised.end_ns
            clips.append(revised.build(self._spoken_before(middle_before), sealed=False))
        return clips

    def finish(self) -> list[Clip]:
        """The medium has ended: everything left, sealed."""
        if self._listener is not None:
            self._heard(self._listener.finish())
        left = [*self._waiting, *([self._open] if self._open is not None else [])]
        self._waiting, self._open = [], None
        clips = [self._seal(draft) for draft in left[:-1]]
        if left:
            clips.append(left[-1].build(self._utterances, sealed=True))
            self._utterances = []
        return clips

    def _hear(self, chunk: AudioChunk) -> None:
        if self._listener is not None:
            self._heard(self._listener.hear(chunk))

    def _heard(self, utterances: list[Utterance]) -> None:
        self.utterances += len(utterances)
        self._utterances += utterances

    def _see(self, frame: VideoFrame) -> ClipDraft | None:
        """The open clip, if it is due for a revision."""
        if self._newest is None or frame.pixels is not self._newest[0]:
            self._newest = frame.pixels, self._encoder.encode_frames([frame.pixels])
        features = self._newest[1]
        if self._open is not None and frame.time_ns - self._open.end_ns >= HOLE_NS:
            self._cutter = ClipCutter(self._rule)
        if self._cutter.begins_clip(features.scene_vectors[0]) or self._open is None:
            if self._open is not None:
                self._waiting.append(self._open)
            self._open = ClipDraft(self._context, self._next_seq)
            self._next_seq += 1
        self._open.add(frame.time_ns, frame.pixels, features)
        self._seen_ns = frame.time_ns
        self.frames += 1
        is_due = self._revise_every > 0 and len(self._open) % self._revise_every == 0
        return self._open if is_due else None

    def _seal_settled(self) -> list[Clip]:
        clips = []
        while self._waiting and self._is_settled(self._waiting[0]):
            clips.append(self._seal(self._waiting.pop(0)))
        return clips

    def _is_settled(self, draft: ClipDraft) -> bool:
        if self._listener is None or self._listener.settled_ns >= draft.end_ns:
            return True
        return self._seen_ns >= draft.end_ns + STALL_NS

    def _seal(self, draft: ClipDraft) -> Clip:
        spoken = self._spoken_before(draft.end_ns)
        self._utterances = self._utterances[len(spoken) :]
        return draft.build(spoken, sealed=True)

    def _spoken_before(self, end_ns: int) -> list[Utterance]:
        """Utterances not yet in a sealed clip whose middle lies before ``end_ns``; middles
        ascend.
        """
        return [
            utterance
            for utterance in self._utterances
            if middle_ns(utterance.start_ns, utterance.end_ns) < end_ns
        ]
