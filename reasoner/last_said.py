"""The last that was said, for a question that asks for nothing in particular: "What was said?", "Who spoke?".

There are no words to find it by, so that the newest clips within the scope are read instead, as of the moment of the
rest of the answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reasoner.evidence import Evidence, labels_of
from reasoner.questions import SAID

if TYPE_CHECKING:
    from memdb.types.clip import StoredClip, Utterance
    from memdb.types.database import User
    from memdb.types.grounding import AsOf
    from reasoner.evidence import Scope
    from reasoner.hours import Hours

PAGE_CLIPS: Final = 500
PAGES_MAX: Final = 20
"""Of silence, at the end of what is asked about: most of a day of one camera."""


def last_said(user: User, scope: Scope, hours: Hours, as_of: AsOf, limit: int) -> list[Evidence]:
    """At most ``limit`` utterances, the newest first; each once, however many clips carry it."""
    found: dict[tuple[str, int, str], Evidence] = {}
    after: str | None = None
    for _ in range(PAGES_MAX):
        clips = user.clips(
            streams=scope.cameras,
            start_ns=scope.start_ns,
            end_ns=scope.end_ns,
            as_of=as_of,
            limit=PAGE_CLIPS,
            after=after,
            labels=dict(scope.labels) or None,
            newest_first=True,
            with_global_memory=False,
            with_keyframes=False,
            **hours,
        )
        for clip in clips:
            for utterance in clip.transcript:
                if scope.holds(clip.stream, utterance.start_ns, utterance.end_ns):
                    key = (clip.stream, utterance.start_ns, utterance.text)
                    found.setdefault(key, _evidence(clip, utterance))
        if len(found) >= limit or len(clips) < PAGE_CLIPS:
            break
        after = clips[-1].cursor
    return sorted(found.values(), key=lambda item: (-item.start_ns, item.camera))[:limit]


def _evidence(clip: StoredClip, utterance: Utterance) -> Evidence:
    """Whatever was said answers such a question."""
    return Evidence(
        SAID,
        clip.stream,
        utterance.start_ns,
        utterance.end_ns,
        1.0,
        clip.id,
        (utterance.text,),
        labels_of(clip),
    )
