"""Names of time zones, as the IANA database has them: ``Europe/Berlin``, ``UTC``."""

from __future__ import annotations

import re
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from memdb.errors import InvalidArgument
from memdb.types.checks import check_text

UTC_ZONE: Final = "UTC"
"""The zone of a stream that was created without one."""

ZONE_CHARS_MAX: Final = 64
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}")
_OF_THIS_MACHINE: Final = ("localtime", "posixrules", "Factory", "posix", "right")
"""What a system keeps beside the zones: no names, or other seconds than ours."""


def checked_zone(zone: object) -> str:
    """``zone`` if the time zone database knows it; raises `InvalidArgument` (``BAD_ZONE``)."""
    if isinstance(zone, ZoneInfo):
        raise InvalidArgument(
            "expected the name of a zone, which is its .key",
            reason="BAD_ZONE",
            field="zone",
            value=zone.key,
        )
    name = check_text(zone, "zone", ZONE_CHARS_MAX)
    if not _NAME.fullmatch(name) or name.partition("/")[0] in _OF_THIS_MACHINE:
        raise _unknown(name)
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        # OSError: a folder of zones, such as "America".
        raise _unknown(name) from error
    return name


def _unknown(name: str) -> InvalidArgument:
    return InvalidArgument(
        "no such time zone in the time zone database; they are spelt like Europe/Berlin",
        reason="BAD_ZONE",
        field="zone",
        value=name,
    )
