"""The English words that ask, in the classes that `reasoner.questions` tells apart."""

from __future__ import annotations

from typing import Final


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


SAID_WORDS: Final = _words("""
    say says said saying speak speaks spoke spoken speaking speaker talk talks talked talking
    tell tells told mention mentions mentioned mentioning hear hears heard hearing
    quote quoted utter uttered voice words aloud
""")
"""Words of speech: the question means what was said."""

SEEN_WORDS: Final = _words("""
    see sees saw seen seeing show shows showed shown showing look looks looked looking
    watch watched appear appears appeared visible view viewed picture pictured pictures screen
    film filmed footage image images display displayed
""")
"""Words of seeing: the question means what was in the picture."""

ASKING_WORDS: Final = _words("""
    what when where which who whom whose why how please is are was were be been do does did
    has have had can could will would should may there any anyone anybody someone somebody
    something anything everyone i me my we you your he she they it them camera cameras video
    videos recording stream clip moment time times day find give list about of that to on in at
    by from and or if ever
""")
"""What may stand before the subject of a question."""

TRAILING_WORDS: Final = _words("""
    what when where which who how and or on in at of by from the a any all there here
    camera cameras video videos recording recordings stream streams clip clips
    anywhere somewhere ever
""")
"""What may stand after it."""

CLAUSE_WORDS: Final = _words("when while")
"""What opens a clause that names the moment."""

EMPTY_WORDS: Final = _words("""
    a an the and or but if of to in on at by for from with as into is are was were be been being
    am do does did has have had can could will would should i me my we us our you your he him
    his she her it its they them their this that these those there here what when where which
    who whom whose why how not no so any some
""")
"""Words too common to show that a text speaks of the question's subject."""

ORDER_WORDS: Final = _words("""
    then after afterwards before next later
""")
"""What points at something before or behind what was spoken of."""

POINTING_WORDS: Final = ORDER_WORDS | _words("""
    else that this those these it they them he him she her
""")
"""What points at something that was spoken of before."""

IDLE_WORDS: Final = _words("""
    happen happens happened happening occur occurs occurred come comes came go goes going did now again about
    anything something everything nothing anyone someone everyone anybody somebody everybody
""")
"""What stands beside them, and says as little by itself."""
