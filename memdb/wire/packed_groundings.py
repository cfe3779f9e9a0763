"""Answers as the bytes that are sent, put together of what is the same from answer to answer.

::

    GroundResponse   1 hits ─▶ Hit  1 clip ─▶ StoredClip   kept beside the clip, once it was sent (`KeptBytes`)
                                    2 score, 3 relevance   written here
                                    4 to 6                 protobuf's: most hits have none
                     2 to 9                                protobuf's, remembered where there are no gaps

The bytes are those that protobuf makes of the same message, deterministic, to the last one: fields stand in the order
of their numbers.  An answer with short-term memory is left to protobuf, which copies it once less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from struct import Struct
from typing import Final, Protocol

from memdb.types.clip import StoredClip
from memdb.types.grounding import Grounding, Hit
from memdb.v1 import grounding_service_pb2 as pb
from memdb.wire.clips import stored_clip_to_proto
from memdb.wire.fields import FIXED64, head, tag_of, varint_end
from memdb.wire.grounding import fill_beside_hits, fill_told, grounding_to_proto
from memdb.wire.groundings import groundings_to_proto
from memdb.wire.streams import gap_to_proto

KEPT_BYTES_MAX: Final = 16 * 1024
"""Of a clip that is kept packed: of a larger one to copy the bytes is most of the work, and they would be kept
twice."""

_HITS: Final = tag_of(pb.GroundResponse.HITS_FIELD_NUMBER)
_CLIP: Final = tag_of(pb.Hit.CLIP_FIELD_NUMBER)
_SCORE: Final = tag_of(pb.Hit.SCORE_FIELD_NUMBER, FIXED64)
_RELEVANCE: Final = tag_of(pb.Hit.RELEVANCE_FIELD_NUMBER, FIXED64)
_ANSWERS: Final = tag_of(pb.GroundManyResponse.ANSWERS_FIELD_NUMBER)
_CLIPS: Final = bytes((tag_of(pb.GroundManyResponse.CLIPS_FIELD_NUMBER),))
_STREAMED: Final = tag_of(pb.GroundStreamResponse.ANSWERS_FIELD_NUMBER)
_TOLD: Final = Struct("<BdBd")
_told: Final = _TOLD.pack


class KeptBytes(Protocol):
    """What keeps the bytes of clips that are kept in memory, as `memdb.engine.clip_cache.ClipCache`."""

    @property
    def packed(self) -> Mapping[StoredClip, bytes]:
        """By the clip itself; as they were put."""

    def put_packed(self, clip: StoredClip, data: bytes) -> None:
        """Keep them for as long as the clip is kept."""


def pack_grounding(grounding: Grounding, kept: KeptBytes) -> bytes:
    """An answer as the bytes of a `GroundResponse`."""
    hits = grounding.hits
    if _have_short_memory(hits):
        return grounding_to_proto(grounding).SerializeToString(deterministic=True)
    find = kept.packed.get
    parts: list[bytes] = []
    for hit in hits:
        begun = find(hit.clip) or _begun_hit(hit.clip, kept)
        told = _packed_told(hit)
        if len(told) == _TOLD.size:
            parts += (begun, told)
        else:
            clip = begun[varint_end(begun, 1) :]
            parts += (head(_HITS, len(clip) + len(told)), clip, told)
    parts.append(_beside_hits(grounding))
    return b"".join(parts)


def pack_groundings(groundings: Sequence[Grounding], kept: KeptBytes) -> bytes:
    """Answers of one view as the bytes of a `GroundManyResponse`."""
    if any(_have_short_memory(one.hits) for one in groundings):
        return groundings_to_proto(groundings).SerializeToString(deterministic=True)
    gaps = groundings[0].gaps if groundings else ()
    common = all(one.gaps == gaps for one in groundings)
    places: dict[StoredClip, int] = {}  # the engine gives the same clip as the same object
    place = places.setdefault
    answers: list[bytes] = []
    hit_clips: list[int] = []
    for grounding in groundings:
        hit_clips += [place(hit.clip, len(places)) for hit in grounding.hits]
        told = _packed_without_clips(grounding.hits)
        rest = _beside_hits(grounding, without_gaps=common)
        answers += (head(_ANSWERS, len(told) + len(rest)), told, rest)
    find = kept.packed.get
    clips: list[bytes | memoryview] = []
    for clip in places:
        begun = find(clip) or _begun_hit(clip, kept)
        # All but the tag, which is that of a hit's.
        clips += (_CLIPS, memoryview(begun)[varint_end(begun, 1) + 1 :])
    message = pb.GroundManyResponse(hit_clips=hit_clips)
    if common:
        message.gaps.extend(map(gap_to_proto, gaps))
    return b"".join((*answers, *clips, message.SerializeToString(deterministic=True)))


def pack_streamed(ids: Sequence[int], answers: bytes) -> bytes:
    """Packed answers to questions of a stream as the bytes of a `GroundStreamResponse`."""
    numbers = pb.GroundStreamResponse(ids=ids).SerializeToString(deterministic=True)
    return b"".join((numbers, head(_STREAMED, len(answers)), answers))


def _have_short_memory(hits: Sequence[Hit]) -> bool:
    """Whether they were asked for with it, by the first: where others alone have it no more than a copy is lost."""
    return bool(hits) and hits[0].clip.short_memory is not None


def _begun_hit(clip: StoredClip, kept: KeptBytes) -> bytes:
    """A hit as far as its clip, where a score and a relevance come behind it and nothing else."""
    data = stored_clip_to_proto(clip).SerializeToString(deterministic=True)
    clip_head = head(_CLIP, len(data))
    data = b"".join((head(_HITS, len(clip_head) + len(data) + _TOLD.size), clip_head, data))
    if len(data) <= KEPT_BYTES_MAX:
        kept.put_packed(clip, data)
    return data


def _packed_without_clips(hits: Sequence[Hit]) -> bytes:
    """The field ``hits`` of an answer that names its clips otherwise."""
    values: list[float] = []
    for hit in hits:
        if not hit.score or hit.relevance is None or hit.spans or hit.token_weights or hit.arms:
            return b"".join([head(_HITS, len(told)) + told for told in map(_packed_told, hits)])
        values += (_HITS, _TOLD.size, _SCORE, hit.score, _RELEVANCE, hit.relevance)
    return _lone_hits(len(hits)).pack(*values)


@lru_cache(64)
def _lone_hits(count: int) -> Struct:
    """Of hits that have a score and a relevance and nothing else."""
    return Struct("<" + "BBBdBd" * count)


def _packed_told(hit: Hit) -> bytes:
    """The fields of a hit behind its clip."""
    # A score of zero is not written, but it is one of minus zero.
    if hit.score and hit.relevance is not None and not (hit.spans or hit.token_weights or hit.arms):
        return _told(_SCORE, hit.score, _RELEVANCE, hit.relevance)
    message = pb.Hit()
    fill_told(message, hit)
    return message.SerializeToString(deterministic=True)


def _beside_hits(grounding: Grounding, *, without_gaps: bool = False) -> bytes:
    """The fields of an answer behind its hits."""
    if grounding.coverage or (grounding.gaps and not without_gaps):
        message = pb.GroundResponse()
        fill_beside_hits(message, grounding)
        if without_gaps:
            message.ClearField("gaps")
        return message.SerializeToString(deterministic=True)
    return _beside_nothing(
        grounding.revision,
        grounding.fallback,
        grounding.abstained,
        grounding.next_cursor,
        grounding.approximate,
        grounding.gaps_left_out,
    )


@lru_cache(256)
def _beside_nothing(
    revision: int,
    fallback: str,
    abstained: bool,
    next_cursor: str | None,
    approximate: bool,
    gaps_left_out: int,
) -> bytes:
    """`_beside_hits` where no gap is named: the same from commit to commit."""
    grounding = Grounding(
        (),
        revision,
        fallback,
        (),
        (),
        abstained,
        next_cursor,
        approximate=approximate,
        gaps_left_out=gaps_left_out,
    )
    message = pb.GroundResponse()
    fill_beside_hits(message, grounding)
    return message.SerializeToString(deterministic=True)
