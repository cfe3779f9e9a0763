"""Answers as a table for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final
from unicodedata import category, combining, east_asian_width

from memdb.types.zone import UTC_ZONE
from reasoner.answer import EXTRACTIVE, Refused
from reasoner.wall_clock import time_range

if TYPE_CHECKING:
    from reasoner.answer import Answer

HEADINGS: Final = ("question", "camera", "from–to ({zone})", "arm", "score", "support", "ms")
_WIDTHS_MAX: Final = (48, 16, 43, 4, 5, 60, 7)
_OURS: Final = "–─…"
_THEIRS: Final = "--."
_NO_WIDTH: Final = ("Mn", "Me")
"""What joins letters and shows nothing is none of these: a sign that stands for it is written (`_harmless`)."""
_RIGHT: Final = frozenset({"score", "ms"})


def answer_row(answer: Answer | Refused) -> tuple[str, ...]:
    """One row: what was asked, the moment, and what supports it; or why it was not asked."""
    if isinstance(answer, Refused):
        return (answer.text, "–", "–", "–", "–", str(answer.error), "–")
    moment = answer.moment
    total = f"{answer.durations_ms['total']:.1f}"
    if moment is None:
        return (answer.question.text, "–", "–", "–", "–", answer.text, total)
    support = [f'"{text}"' for text in moment.said]
    if moment.labels:
        support.append(f"[{', '.join(moment.labels)}]")
    when = time_range(moment.start_ns, moment.end_ns, answer.zone)
    # What was seen is supported by its labels first, what was said by its words.
    ordered = support if moment.arm != "seen" else support[::-1]
    return (
        answer.question.text,
        moment.camera or "–",
        when,
        moment.arm,
        f"{moment.score:.2f}",
        " ".join(ordered),
        total,
    )


def render(
    headings: Sequence[str], rows: Sequence[Sequence[str]], widths_max: Sequence[int]
) -> str:
    """Aligned columns; what is wider than its maximum ends in an ellipsis."""
    cut = [[_cut(cell, width) for cell, width in zip(row, widths_max, strict=True)] for row in rows]
    widths = [max(map(columns, column)) for column in zip(headings, *cut, strict=True)]
    lines = [headings, ["─" * width for width in widths], *cut]
    return "\n".join(
        "  ".join(
            _fitted(cell, width, is_right=heading in _RIGHT)
            for cell, width, heading in zip(line, widths, headings, strict=True)
        ).rstrip()
        for line in lines
    )


def answers_table(rows: Sequence[Answer | Refused], encoding: str | None = None) -> str:
    """The table, and below it who answered; a language model's own words follow as lines.

    encoding: of what it is written to; one without our dashes has others.  None for UTF-8.
    """
    answers = [row for row in rows if not isinstance(row, Refused)]
    # All are told by one clock.
    zone = answers[0].zone if answers else UTC_ZONE
    headings = [heading.format(zone=zone) for heading in HEADINGS]
    parts = [render(headings, [answer_row(row) for row in rows], _WIDTHS_MAX)]
    by_model = [answer for answer in answers if answer.answered_by != EXTRACTIVE]
    parts.extend(
        f"{answer.question.text}\n  {answer.answered_by}: {answer.text}" for answer in by_model
    )
    if len(by_model) < len(answers):
        is_asked = by_model or any(answer.model_error is not None for answer in answers)
        why = (
            "the language model did not answer"
            if is_asked
            else "no language model was asked (--llm URL)"
        )
        parts.append(f"Extractive answers: quoted from transcripts, labels and times; {why}.")
    # In its cell the sentence is cut.
    parts.extend(
        f"{answer.question.text}\n  {answer.text}"
        for answer in answers
        if answer.answered_by == EXTRACTIVE
        and (len(answer.cited) > 1 or (answer.abstained and answer.moment is None))
    )
    if any("semantic" not in answer.recall_arms for answer in answers):
        parts.append("Speech was searched by words alone: the user has no text space.")
    return _plain(_harmless("\n\n".join(parts)), encoding or "utf-8")


def _harmless(text: str) -> str:
    """Without what steers a terminal: transcripts, labels and a model's words are whatever somebody said."""
    return "".join(char if char == "\n" or char.isprintable() else "\ufffd" for char in text)


def _plain(text: str, encoding: str) -> str:
    """With signs that the encoding has in the place of ours."""
    try:
        _OURS.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(str.maketrans(_OURS, _THEIRS))
    return text


def _cut(cell: str, width: int) -> str:
    cell = " ".join(cell.split())
    if columns(cell) <= width:
        return cell
    kept = cell[:width]
    while columns(kept) > width - 1:
        kept = kept[:-1]
    return kept + "…"


def columns(text: str) -> int:
    """How many columns of a terminal it takes: two for a Chinese letter or an emoji, none for an accent of its own."""
    return sum(
        0
        if combining(char) or category(char) in _NO_WIDTH
        else 1 + (east_asian_width(char) in "WF")
        for char in text
    )


def _fitted(cell: str, width: int, *, is_right: bool) -> str:
    space = " " * (width - columns(cell))
    return space + cell if is_right else cell + space
