"""Numbers that a caller carries from one page to the next, as text that only its user can have been given.

::

    cursor  =  hexadecimal of (body + check)
    check      8 bytes of BLAKE2b of the body, keyed by the user's key of ids; ``person``: the kind of cursor
"""

from __future__ import annotations

import hmac
from hashlib import blake2b
from struct import Struct
from typing import Any, Final

from memdb.errors import InvalidArgument

_CHECK_BYTES: Final = 8


def sealed(body: bytes, id_key: bytes, person: bytes) -> str:
    """The text of a body."""
    return (body + _check(body, id_key, person)).hex()


def sealed_chars(layout: Struct) -> int:
    """How long the text of a body is."""
    return 2 * (layout.size + _CHECK_BYTES)


def unsealed(text: str, layout: Struct, id_key: bytes, person: bytes) -> tuple[Any, ...]:
    """The numbers of a text, as ``layout`` has them; raises `InvalidArgument` (``BAD_CURSOR``)."""
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raw = b""
    body, check = raw[: layout.size], raw[layout.size :]
    if len(body) != layout.size or not hmac.compare_digest(check, _check(body, id_key, person)):
        raise InvalidArgument(
            "not a cursor of this user", reason="BAD_CURSOR", field="cursor", value=text
        )
    return layout.unpack(body)


def _check(body: bytes, id_key: bytes, person: bytes) -> bytes:
    return blake2b(body, key=id_key, digest_size=_CHECK_BYTES, person=person).digest()
