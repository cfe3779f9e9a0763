"""Times within a question, which are told apart from what it asks for but not understood.

"Was there a cat at night?" is asked of all hours: clips are narrowed by options alone.  Whoever typed it
is told so, in place of an answer of noon that looks like one of the night.
"""

from __future__ import annotations

import re
from typing import Final

_DAY: Final = r"(?:mon|tues|wednes|thurs|fri|satur|sun)day"
_MONTH: Final = (
    r"(?:january|february|march|april|may|june|july|august|september|october|november|december)"
)
_PART: Final = r"(?:morning|afternoon|evening|night|noon)"
_UNIT: Final = r"(?:second|minute|hour|day|night|week|weekend|month|year)"
_SMALL: Final = r"(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)"
_FEW: Final = rf"(?:an?|\d+|{_SMALL}|(?:a\s)?few|several|a\scouple\sof|half\san|twenty|thirty)"
_CLOCK: Final = (
    r"(?:\d{1,2}:\d{2}(?:\s?[ap]\.?m\b\.?)?"
    rf"|(?:\d{{1,2}}|{_SMALL})\s?(?:[ap]\.?m\b\.?|o['’]clock)"
    rf"|(?:half|(?:a\s)?quarter)\s(?:past|to)\s(?:\d{{1,2}}|{_SMALL}))"
)
_DATE: Final = (
    r"(?:\d{4}-\d{2}-\d{2}"
    rf"|(?:the\s)?\d{{1,2}}(?:st|nd|rd|th)?(?:\sof)?\s{_MONTH}"
    rf"|{_MONTH}\s\d{{1,2}}(?:st|nd|rd|th)?"
    # Not "on the 2nd floor", "after the 3rd knock".
    r"|the\s\d{1,2}(?:st|nd|rd|th)(?!\s(?!(?:at|in|by|and|or|of|from|between|before|after|during|for|with)\b)\w))"
)
_TIME: Final = re.compile(
    rf"""\b(?:
        (?:the\s(?:day|night)\sbefore\s)?yesterday(?:\s{_PART})?
      | the\snight\sbefore\slast
      | (?:last|this)\s(?:{_PART}|{_UNIT}|{_DAY}(?:\s{_PART})?)
      | (?:in|over|during|within|for)\sthe\s(?:last|past)\s(?:{_FEW}\s)?{_UNIT}s?
      | (?:at|around|about|before|after|since|until|till|by|between|from)\s{_CLOCK}
      | on\s(?:{_DAY}s?(?:\s{_PART})?|{_DATE})
      | (?:since|before|after|until|till|by)\s(?:{_DAY}|{_DATE})
      | (?:at|around|before|after|since|until|till|by)
            \s(?:noon|midnight|dawn|dusk|sunrise|sunset|lunchtime|midday)
      | in\s(?:{_MONTH}|(?:19|20)\d\d)
      | {_FEW}\s{_UNIT}s?(?:\sand\sa\shalf)?\sago
      | (?:the\sother\sday|a\s(?:while|moment)\sago|just\snow)
      | (?:at|during\sthe|in\sthe\smiddle\sof\sthe)\snight
      | (?:at|over|on|during)\sthe\sweekend
      | in\sthe\s(?:early\s|late\s)?(?:morning|afternoon|evening)
      | during\sthe\s(?:day|morning|afternoon|evening)
      | (?:every|each)\s(?:{_PART}|day|{_DAY})
      | today | tonight | overnight
    )(?!\w)""",
    re.IGNORECASE | re.VERBOSE,
)
_QUOTED: Final = re.compile(r"[\"“«].*?[\"”»]")


def spoken_time(question: str) -> str | None:
    """The first time that the question names, as it names it; None where there is none, or only in quotation marks."""
    found = _TIME.search(_unquoted(question))
    return None if found is None else found[0]


def without_times(question: str) -> str:
    """What is left of the question; what is in quotation marks is no time."""
    kept: list[str] = []
    end = 0
    for found in _TIME.finditer(_unquoted(question)):
        kept.append(question[end : found.start()])
        end = found.end()
    return " ".join((*kept, question[end:]))


def _unquoted(question: str) -> str:
    """With spaces for what is in quotation marks, so that places stay."""
    return _QUOTED.sub(lambda quoted: " " * len(quoted[0]), question)
