"""What is said and heard in a generated day, and how it is asked for later: fixed before anything was measured."""

from __future__ import annotations

from typing import Final

SEEN: Final = "When was {thing} seen?"

SAID: Final = (
    (
        "Anna, could you bring {thing} over to the neighbours before supper?",
        "Who was asked to bring {thing} to the neighbours?",
    ),
    (
        "I got {thing} at the market on Saturday, for half the price.",
        "When did somebody say that {thing} came from the market?",
    ),
    (
        "Be careful with {thing}, grandfather has only just repaired it.",
        "What did grandfather do about {thing}?",
    ),
    (
        "Peter says that {thing} belongs into the cellar until spring.",
        "Who said that {thing} should go to the cellar?",
    ),
    (
        "We will have to take {thing} along when we drive to the lake.",
        "What is to be taken to the lake, {thing}?",
    ),
    (
        "Somebody from school called and asked about {thing} again.",
        "Who from school asked about {thing}?",
    ),
)
"""(what is said, how it is asked for)."""

SOUNDS: Final = (
    ("Dog bark", "a dog was barking"),
    ("Doorbell", "the doorbell rang"),
    ("Siren", "a siren went by"),
    ("Glass breaking", "glass broke"),
    ("Baby cry", "a baby was crying"),
    ("Telephone ringing", "the telephone was ringing"),
    ("Car horn", "a car was honking its horn"),
    ("Hammer", "somebody was hammering"),
)
"""(the label of the sound, how it is asked for)."""
SOUND: Final = "When was {thing} there and {sound}?"

CHATTER: Final = (
    "It looks as if it might rain later today.",
    "Did you lock the door when you left?",
    "I will be back in half an hour or so.",
    "Can you hear that? There is somebody outside.",
    "Have you seen my keys? They were on the table.",
    "Good morning, how did you sleep?",
    "The train was late again, as it is every Monday.",
    "Let us talk about that when your mother is here.",
    "No, the meeting was moved to Thursday.",
    "That is what I told him, but he would not listen.",
    "Supper will be ready at seven.",
    "We should really paint this wall before winter.",
)
"""What has to do with no question."""
