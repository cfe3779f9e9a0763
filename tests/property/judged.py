"""What a stored clip and an answer must be, by the oracle's versions: compared by the rules of the state machines."""

from __future__ import annotations

import numpy as np

from memdb import StoredClip
from tests.property.model import CLOSE, Vector, Version


def shown(clip: StoredClip) -> tuple[object, ...]:
    """Everything of a stored clip but its short-term memory, comparable."""
    return (
        (clip.id, clip.user, clip.stream, clip.space, clip.revision, clip.epoch, clip.seq),
        (clip.start_ns, clip.end_ns, clip.sealed, dict(clip.labels)),
        tuple((u.start_ns, u.end_ns, u.text) for u in clip.transcript),
        tuple((frame.time_ns, frame.jpeg) for frame in clip.keyframes),
        str(clip.global_memory.dtype),
        clip.global_memory.tobytes(),
    )


def expected(version: Version, user: str) -> tuple[object, ...]:
    """`shown` of the clip that the model holds."""
    written = version.content.clip(version.epoch, version.seq, version.space)
    return (
        (
            version.clip_id,
            user,
            version.stream,
            version.space.name,
            version.birth,
            version.epoch,
            version.seq,
        ),
        (written.start_ns, written.end_ns, written.sealed, dict(written.labels)),
        tuple((u.start_ns, u.end_ns, u.text) for u in written.transcript),
        tuple((frame.time_ns, frame.jpeg) for frame in written.keyframes),
        str(written.global_memory.dtype),
        written.global_memory.tobytes(),
    )


def selected(
    scored: list[tuple[float, Version]], policy: str, limit: int, min_score: float | None
) -> tuple[list[str], list[str]]:
    """(ids that must be in the answer, ids that may be): a clip within rounding of a threshold or
    tied at a cut may go either way.
    """
    if not scored:
        return [], []
    scores = np.array([score for score, _ in scored])
    weights = np.exp((scores - scores.max()) / 0.1)
    shares = weights / weights.sum()

    def first(names: list[int], count: int) -> tuple[set[int], set[int]]:
        """The `count` earliest: by start, then by commit, and of one commit by the clip's number, of which it may have
        a later version before a new clip.
        """

        def when(name: int) -> tuple[int, int, int]:
            version = scored[name][1]
            return version.content.start_ns, version.birth, version.order

        order = sorted(names, key=when)
        return set(order[:count]), set(order[:count])

    def best(count: int) -> tuple[set[int], set[int]]:
        """The `count` best, and those tied with the last of them."""
        if len(scores) <= count:
            return set(range(len(scores))), set(range(len(scores)))
        cut = np.sort(scores)[::-1][count - 1]
        next_one = np.sort(scores)[::-1][count]
        surely = np.flatnonzero(scores > (cut + CLOSE if cut - next_one < CLOSE else cut - CLOSE))
        return set(surely.tolist()), set(np.flatnonzero(scores > cut - CLOSE).tolist())

    unclear: Vector
    if policy == "top":
        sure, maybe = best(limit)
    elif policy in ("ixc-live", "ixc-gradio"):
        threshold = 0.3 if policy == "ixc-live" else 0.25
        unclear = np.abs(scores - threshold) < CLOSE
        sure, maybe = first(np.flatnonzero(scores > threshold).tolist(), 1)
        if unclear.any():
            return [], [version.clip_id for _, version in scored]
    elif policy == "ixc-offline":
        unclear = np.abs(shares - 0.2) < 1e-3
        sure, maybe = first(np.flatnonzero(shares > 0.2).tolist(), limit)
        if unclear.any():
            return [], [version.clip_id for _, version in scored]
    else:
        sure, maybe = best(4)
        if limit < 4:
            if sure != maybe:
                return [], [scored[i][1].clip_id for i in maybe]
            sure, maybe = first(list(sure), limit)
    if min_score is not None:
        sure = {i for i in sure if scores[i] >= min_score + CLOSE}
        maybe = {i for i in maybe if scores[i] >= min_score - CLOSE}
    return [scored[i][1].clip_id for i in sure], [scored[i][1].clip_id for i in maybe]
