"""What a database holds, as a flat mapping of names to short values: what the workload says must be
there and what the checker finds are told in the same words.

::

    space NAME                      dim
    user NAME                       there
    stream USER NAME                the retention policy
    clip USER STREAM SEQ            sealed or open, and a digest of all its bytes
    fact USER NAME                  texts of all versions; NAME is the first word of the text
    value USER KEY                  JSON
    snapshot USER NAME              there
    standing USER NAME              what is asked; NAME is the question in words
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Final

from memdb import Clip, NotFound, Retention, StandingQuestion
from memdb.types.arrays import Array
from memdb.types.database import Database, User
from memdb.types.standing import StandingSpec

VALUE_KEYS = tuple(f"k{n}" for n in range(6))
PASSING_KEY = "passing"
"""Of values that are removed."""

_PLACE: Final = re.compile(r"clip_ids\[([0-9]+)\]")
"""What an error names."""

Observed = dict[str, str]


def clip_value(clip: Clip, short_memory: Array | None) -> str:
    """A clip, to the last bit that its writer chose."""
    told = hashlib.sha256(
        repr(
            (
                (clip.seq, clip.epoch, clip.start_ns, clip.end_ns, clip.sealed),
                clip.transcript,
                sorted(clip.labels.items()),
                [(frame.time_ns, len(frame.jpeg)) for frame in clip.keyframes],
                None if short_memory is None else short_memory.shape,
            )
        ).encode()
    )
    for frame in clip.keyframes:
        told.update(frame.jpeg)
    told.update(clip.global_memory.tobytes())
    if short_memory is not None:
        told.update(short_memory.tobytes())
    return f"{'sealed' if clip.sealed else 'open'} {told.hexdigest()[:16]}"


def policy_value(policy: Retention) -> str:
    """A policy."""
    return repr(policy)


def observe(db: Database) -> Observed:
    """All that the database holds."""
    found = {f"space {space.name}": str(space.dim) for space in db.spaces()}
    for name in db.users():
        found[f"user {name}"] = "there"
        found |= _observe_user(db.user(name))
    return found


def _observe_user(user: User) -> Observed:
    found: Observed = {}
    for info in user.streams():
        found[f"stream {user.id} {info.name}"] = policy_value(user.stream(info.name).retention())
    clips = user.clips()
    for clip, short in zip(clips, _short_memories(user, [clip.id for clip in clips]), strict=True):
        found[f"clip {user.id} {clip.stream} {clip.seq}"] = clip_value(clip, short)
    for fact in user.facts():
        texts = [version.text for version in user.history(fact.id)]
        found[f"fact {user.id} {fact.text.split()[0]}"] = json.dumps(texts)
    for key in user.keys(limit=1000):
        found[f"value {user.id} {key}"] = json.dumps(user.get(key))
    for snapshot in user.snapshots():
        found[f"snapshot {user.id} {snapshot.name}"] = "there"
    for question in user.standing.list():
        found[f"standing {user.id} {question.text}"] = standing_value(question)
    return found


def standing_value(question: StandingQuestion | StandingSpec) -> str:
    """What a standing question asks, to the last bit."""
    asked = question.kind, question.min_score, question.min_relevance, question.sealed_only
    return f"{asked} {hashlib.sha256(question.feature.tobytes()).hexdigest()[:16]}"


def _short_memories(user: User, clip_ids: list[str]) -> list[Array | None]:
    """Each clip's short-term memory, None where it was thinned."""
    found: list[Array | None] = []
    while clip_ids:
        try:
            return [*found, *user.short_memory(clip_ids)]
        except NotFound as error:
            place = _PLACE.fullmatch(error.field or "")
            if error.reason != "NO_SHORT_MEMORY" or place is None:
                raise
            first = int(place[1])  # of those that have none
        if first:
            found += user.short_memory(clip_ids[:first])
        found.append(None)
        clip_ids = clip_ids[first + 1 :]
    return found
