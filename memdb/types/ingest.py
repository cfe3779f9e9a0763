"""What both ends of an ingest agree on."""

from __future__ import annotations

from typing import Final

INGEST_WINDOW: Final = 64
"""Clips of one ingest in flight: what a writer sends ahead where nobody says, and what the server takes in of a stream
before it reads on.  So it has the next ones while it commits; with half as many, clips of 200 kB took 4 to 8 % longer
on two processors, with twice as many as long.
"""
