"""Conversations in the format of LoCoMo (snap-research/LoCoMo, CC BY-NC 4.0): not ours to ship, read from a file.

A turn is a clip with one utterance; its global memory is the sentence vector of what was said.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.data import CLIP_NS, start_of
from memdb import Clip, Utterance
from memdb.types.arrays import Array


@dataclass(frozen=True, slots=True)
class Conversation:
    """What was said, and questions with the turns that answer them."""

    turns: tuple[tuple[str, str], ...]
    """(speaker, text), in order."""
    questions: tuple[tuple[str, tuple[int, ...]], ...]
    """(text, numbers of turns)."""

    def clips(self, features: Array) -> Iterator[Clip]:
        """A clip for each turn; features: (turns, dim) of what was said."""
        for seq, (speaker, text) in enumerate(self.turns):
            start_ns = start_of(seq)
            yield Clip(
                seq=seq,
                start_ns=start_ns,
                end_ns=start_ns + CLIP_NS,
                global_memory=features[seq],
                transcript=(Utterance(start_ns, start_ns + CLIP_NS, text, speaker=speaker),),
            )


def conversations(path: Path) -> list[Conversation]:
    """Every conversation of a file."""
    return [_conversation(one) for one in json.loads(path.read_text())]


def _conversation(one: dict[str, Any]) -> Conversation:
    turns: list[tuple[str, str]] = []
    numbers: dict[str, int] = {}
    session = 1
    while f"session_{session}" in one["conversation"]:
        for turn in one["conversation"][f"session_{session}"]:
            numbers[turn["dia_id"]] = len(turns)
            turns.append((turn["speaker"], turn["text"]))
        session += 1
    questions = []
    for asked in one["qa"]:
        right = tuple(numbers[name] for name in asked.get("evidence", ()) if name in numbers)
        if right:
            questions.append((asked["question"], right))
    return Conversation(tuple(turns), tuple(questions))
