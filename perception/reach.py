"""Is the server there?  Asked by the commands before they load anything, with little patience."""

from __future__ import annotations

from typing import Final

import memdb_client
from memdb.errors import DeadlineExceeded, Unavailable
from perception.arguments import server_address

REACH_TIMEOUT_S: Final = 5.0


def reach(
    address: str,
    token: str | None,
    timeout_s: float = REACH_TIMEOUT_S,
    *,
    tls: str | bool | None = None,
) -> None:
    """Make one cheap call.  Raises `Unavailable` when nobody answers within ``timeout_s``,
    `InvalidArgument` for an address, token or certificate that is none, and what the server answers.
    """
    try:
        with memdb_client.connect(
            server_address(address), token=token, tls=tls, timeout_s=timeout_s
        ) as probe:
            probe.spaces()
    except (Unavailable, DeadlineExceeded) as error:
        raise Unavailable(
            f"no answer within {timeout_s:g} s ({error.message}); is memdb serve running there?",
            field="server",
            value=address,
        ) from error
