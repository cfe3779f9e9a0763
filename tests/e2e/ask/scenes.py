"""What cameras saw and heard, asked for by `memdb-ask` with the bundled text encoder.

What they saw is written as sentence vectors of descriptions, because here the way from a question to an answer is
under test; the way from pictures is `test_demo`'s.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from memdb import Clip, Utterance
from memdb.types.arrays import Array
from perception.encoders.text import BundledTextEncoder
from reasoner.cli import main

START_NS = 1_767_603_600 * 10**9  # 2026-01-05T09:00:00Z
SCENES: dict[str, list[tuple[str, tuple[str, ...]]]] = {
    "yard": [
        ("a red bicycle leaning on a wall", ()),
        ("a brown dog running over the lawn", ("Good dog, come here.",)),
        ("rain on the window", ("The train to Vienna leaves at seven.",)),
    ],
    "kitchen": [
        ("a kettle boiling on the stove", ("I put the keys into the blue bowl.",)),
        ("a cat asleep on a chair", ()),
    ],
}


def clip(seq: int, encoder: BundledTextEncoder, shows: str, spoken: tuple[str, ...]) -> Clip:
    start_ns = START_NS + 10 * seq * 10**9
    features: Array | None = encoder.encode(spoken) if spoken else None
    return Clip(
        seq=seq,
        start_ns=start_ns,
        end_ns=start_ns + 10 * 10**9,
        global_memory=encoder.encode([shows])[0],
        transcript=tuple(Utterance(start_ns, start_ns + 3 * 10**9, text) for text in spoken),
        transcript_features=features,
        labels={"scene": shows},
    )


def ask(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    assert main([*arguments, "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def moment(answer: dict[str, Any]) -> tuple[str, str, str]:
    found = answer["evidence"][answer["cited"][0]]
    return found["arm"], found["camera"], found["start"]
