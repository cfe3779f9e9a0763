"""Clips of an ingest that the native edge has read and checked already.

The edge (`edge/src/plain_clips.cc`) takes a message in which every field is known and everything is as a clip may be,
and says where its pieces are; here they become what `memdb.wire.ingest.ingested_clips` makes of the same bytes.  Every
other message comes as bytes, to be read there or refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from memdb.engine.run_acks import RunAcks
from memdb.types.clip import NO_LABELS, Clip, Keyframe, SoundEvent, Utterance
from memdb.types.labels import Labels
from memdb.types.plain_run import PlainRun
from memdb.types.tensor import Codec, EncodedTensor
from memdb.types.unchecked import maker

if TYPE_CHECKING:
    import memdb_edge

_F16: Final = np.dtype("<f2")
_F32: Final = np.dtype("<f4")
_CODEC: Final = Codec.F16

_clip = maker(Clip)
_keyframe = maker(Keyframe)
_sound_event = maker(SoundEvent)
_tensor = maker(EncodedTensor)
_utterance = maker(Utterance)


def clips_of(message: memdb_edge.PlainClips) -> list[Clip]:
    """The clips of a message; short-term memory is a view of it."""
    view = memoryview(message)
    return [_made(view, *parts) for parts in message.clips()]


def runs_of(message: memdb_edge.PlainClips, epoch: int) -> list[PlainRun] | None:
    """The same as runs; None where one of them is of another epoch, or has more than vectors."""
    runs = message.runs(epoch)
    return None if runs is None else [MessageRun(run) for run in runs]


def ack_fields(acks: RunAcks) -> bytes:
    """The acknowledgements of a run, each as a field of ``IngestAcks``."""
    import memdb_edge  # noqa: PLC0415 - there is no run without it

    return memdb_edge.ack_fields(acks.id_key, acks.first, acks.count, acks.revision)


class MessageRun:
    """A `memdb.types.plain_run.PlainRun` of a message, which lives as long."""

    __slots__ = (
        "_clips",
        "_run",
        "dim",
        "epoch",
        "first_seq",
        "is_half",
        "may_be_zero",
        "payload_bytes",
        "stage",
    )

    def __init__(self, run: memdb_edge.PlainRun) -> None:
        self._run = run
        self._clips = len(run)
        self.epoch = run.epoch
        self.first_seq = run.first_seq
        self.dim = run.dim
        self.is_half = run.is_half
        self.may_be_zero = run.may_be_zero
        self.payload_bytes = run.payload_bytes
        self.stage = run.stage

    def __len__(self) -> int:
        return self._clips

    def clips(self) -> list[Clip]:
        """The clips themselves."""
        view = memoryview(self._run.message)
        return [_made(view, *parts) for parts in self._run.clips()]


def _made(
    view: memoryview,
    seq: int,
    epoch: int,
    start_ns: int,
    end_ns: int,
    sealed: bool,
    frames_per_token_row: float | None,
    elements: bytes,
    are_halves: bool,
    tensor: tuple[int, int, int, int, int] | None,
    parts: tuple[Any, ...] | None,
) -> Clip:
    short_memory = None
    if tensor is not None:
        rows, dim, begin, end, checksum = tensor
        short_memory = _tensor(_CODEC, (rows, dim), view[begin:end], checksum)
    transcript: tuple[Utterance, ...] = ()
    events: tuple[SoundEvent, ...] = ()
    keyframes: tuple[Keyframe, ...] = ()
    features, labels = None, NO_LABELS
    if parts is not None:
        transcript = tuple([_utterance(*said) for said in parts[0]])
        if parts[1] is not None:
            rows, dim, data = parts[1]
            features = np.frombuffer(data, _F32).reshape(rows, dim)
        events = tuple([_sound_event(*heard) for heard in parts[2]])
        keyframes = tuple([_keyframe(*shown) for shown in parts[3]])
        if parts[4]:
            labels = Labels(parts[4])
    return _clip(
        seq,
        start_ns,
        end_ns,
        np.frombuffer(elements, _F16 if are_halves else _F32),
        short_memory,
        frames_per_token_row,
        transcript,
        features,
        events,
        keyframes,
        labels,
        sealed,
        epoch,
    )
