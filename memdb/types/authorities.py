"""Whose certificates a command trusts, as its option ``--tls`` says."""

from __future__ import annotations

from typing import Final

SYSTEM: Final = "system"
TLS_HELP: Final = (
    "speak TLS: PEM file of the authority of the server's certificate (or the certificate itself), "
    f"or `{SYSTEM}` for the authorities that this machine trusts"
)
"""What the commands say of the option."""


def authorities(given: str | None) -> str | bool | None:
    """``tls`` of `memdb_client.connect` for an option: None where it was not given.

    A file that is called `SYSTEM` is ``./system``.
    """
    return True if given == SYSTEM else given
