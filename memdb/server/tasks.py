"""Tasks that end with what they were made for."""

from __future__ import annotations

import asyncio


async def settle(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait until it has ended, whatever it ended with."""
    task.cancel()
    await asyncio.wait([task])
