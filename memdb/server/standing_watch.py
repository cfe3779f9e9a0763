"""One WatchStanding stream: what the standing questions of a user tell, from a cursor on.

As `memdb.server.watch`, page by page from what is stored: nothing is buffered for a watcher, and one that
reads slowly is sent to slowly.  While nothing comes it sleeps until the next commit, or until something
has been absent for long enough.
"""

from __future__ import annotations

import asyncio
from typing import Final

from memdb.deadline import Deadline
from memdb.engine.standing import WatchedStanding
from memdb.server.methods import Send
from memdb.server.resources import Resources
from memdb.server.watch import RECHECK_S, Subscription, waker
from memdb.v1 import standing_service_pb2 as pb
from memdb.wire.standing import alert_to_proto

MESSAGE_ALERTS: Final = 512
"""Of one message: some hundred kilobytes."""
PROGRESS_S: Final = 5.0
"""How often a watcher that has nothing to hear is told how far it has come."""


async def watch_standing(
    resources: Resources, request: pb.WatchStandingRequest, send: Send
) -> None:
    """Send the alerts after the cursor; with ``follow``, until the client goes.

    Raises `NotFound` (also when the user is erased meanwhile), `InvalidArgument` (``BAD_CURSOR``),
    `Unavailable` (``SHUTTING_DOWN``).
    """
    pools, drain = resources.pools, resources.drain
    user = resources.database.user(request.user)
    watched = user.standing.watched(request.cursor if request.HasField("cursor") else None)
    wake = asyncio.Event()
    subscription = Subscription()
    # A page may take long: every question that a clip matches looks at the clips before it.
    deadline = Deadline()
    loop = asyncio.get_running_loop()
    sent_s = loop.time()
    try:
        if request.follow:
            await pools.read.of(user.id).run_in_turn(subscription.begin, user, waker(wake))
        with drain.waking(wake):
            while True:
                drain.check()
                wake.clear()
                await resources.openings.wait(request.user)
                messages, cursor = await pools.read.of(user.id).run_in_turn(
                    deadline.within, _page, watched
                )
                for message in messages:
                    await send(message)
                if messages:
                    sent_s = loop.time()
                elif loop.time() - sent_s >= PROGRESS_S and (
                    request.follow or not watched.is_at_end
                ):
                    # So that a client that goes on, after a restart or as it was cut off, need not look at all of it
                    # again: also of many commits that have nothing to tell.
                    await send(pb.WatchStandingResponse(cursor=cursor or "").SerializeToString())
                    sent_s = loop.time()
                if messages or not watched.is_at_end:
                    continue
                if not request.follow:
                    return
                drain.check()
                await _wait(wake, watched.pause_s(RECHECK_S))
    finally:
        deadline.leave()
        # On a thread: the last one to leave a user may have to close it.
        loop.run_in_executor(None, subscription.end)


async def _wait(wake: asyncio.Event, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await wake.wait()
    except TimeoutError:
        pass  # look again


def _page(watched: WatchedStanding) -> tuple[list[bytes], str | None]:
    """The next alerts as messages, and where they end."""
    alerts = watched.page()
    messages = [
        pb.WatchStandingResponse(
            alerts=[alert_to_proto(alert) for alert in alerts[begin : begin + MESSAGE_ALERTS]],
            cursor=alerts[min(begin + MESSAGE_ALERTS, len(alerts)) - 1].cursor,
        ).SerializeToString()
        for begin in range(0, len(alerts), MESSAGE_ALERTS)
    ]
    return messages, watched.cursor
