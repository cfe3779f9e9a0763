"""Times within a question, which are told apart from what it asks for but not understood.

"Was there a cat at night?" is asked of all hours: clips are narrowed by options alone.  Whoever typed it
is told so, in place of an answer of noon that looks like one of the night.
"""

from __future__ import annotations

import re
from typing import Final

_DAY: Final = r"(?:mon|tues|wednes|thurs|fri|satur|sun)day"
_CLOCK: Final = r"(?:\d{1,2}:\d{2}(?:\s?[ap]\.?m\b\.?)?|\d{1,2}\s?(?:[ap]\.?m\b\.?|o['’]clock))"
_FEW: Final = r"a\sfew|one|two|three|four|five|six|seven|eight|nine|ten|twelve"
_TIME: Final = re.compile(
    rf"""\b(?:
        yesterday(?:\s(?:morning|afternoon|evening|night))?
      | (?:last|this)\s(?:night|morning|afternoon|evening|week|weekend|month|{_DAY})
      | (?:at|around|before|after|since|until|between|from)\s{_CLOCK}
      | on\s{_DAY}s?
      | (?:at|around|before|after|since|until)\s(?:noon|midnight)
      | (?:an?|\d+|{_FEW})\s(?:minute|hour|day|night|week|month|year)s?\sago
      | (?:at|during\sthe)\snight
      | in\sthe\s(?:morning|afternoon|evening)
      | today | tonight
    )(?!\w)""",
    re.IGNORECASE | re.VERBOSE,
)
_QUOTED: Final = re.compile(r"[\"“«].*?[\"”»]")


def spoken_time(question: str) -> str | None:
    """The first time that the question names, as it names it; None where there is none, or only in quotation marks."""
    found = _TIME.search(_QUOTED.sub(lambda quoted: " " * len(quoted[0]), question))
    return None if found is None else found[0]
