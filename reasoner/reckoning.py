"""Questions for a number or for an order: "How many cats were there?", "When did a van last come?".

Clips are found by how like they are to what is asked for; nothing is counted, and the best of them need be neither the
first nor the last.  Whoever typed such a question is told so, in place of a sighting that looks like its answer.
"""

from __future__ import annotations

import re
from typing import Final

from reasoner.spoken_times import without_times

_RECKONING: Final = re.compile(
    r"""\b(?:
        how\s(?:many|often|long|much)
      | the\s(?:very\s)?(?:first|last|latest)\stime
      | (?:^when\b[^.?!]*?\b)(?P<order>first|last|latest)(?!\s(?:floor|storey|aid|class|names?)\b)
    )(?!\w)""",
    re.IGNORECASE | re.VERBOSE,
)
_QUOTED: Final = re.compile(r"[\"“«].*?[\"”»]")


def reckoning(question: str) -> str | None:
    """What the question wants reckoned, as it says it; None where that is nothing.

    Times ("last night") and what is in quotation marks are no such words.
    """
    found = _RECKONING.search(_QUOTED.sub(" ", without_times(question)).strip())
    if found is None:
        return None
    return found["order"] or found[0]
