"""Docstrings of this code as Markdown."""

from __future__ import annotations

import re
from typing import Final

_DOUBLE: Final = re.compile(r"``(.+?)``", re.DOTALL)
_TERM: Final = re.compile(r"``[^`]+``")


def markdown(doc: str, parameters: tuple[str, ...] = ()) -> str:
    """Paragraphs of a docstring: what it says of a parameter is an item of a list, ``Raises`` stands out.

    A sentence belongs to the parameter whose name, with a colon, opened it or one before it in its
    paragraph.
    """
    parts: list[str] = []
    for paragraph in re.split(r"\n[ \t]*\n|(?<=\.)\s+(?=Raises )", doc.strip()):
        parts += _paragraph(paragraph, parameters)
    text = ""
    for part in parts:
        # Items of one list stand together.
        joint = (
            "\n" if part.startswith("- ") and text.rpartition("\n")[2].startswith("- ") else "\n\n"
        )
        text += (joint if text else "") + part
    return text


def line(doc: str) -> str:
    """A docstring in one line, for a cell of a table."""
    text = markdown(doc)
    return re.sub(r"\s+", " ", text.replace("\n- ", "; ")).replace("|", "\\|").strip()


def _paragraph(paragraph: str, parameters: tuple[str, ...]) -> list[str]:
    lines = paragraph.splitlines()
    if any(_TERM.fullmatch(one.strip()) and not one.startswith(" ") for one in lines):
        return _definitions(lines)
    text = _code(re.sub(r"\s+", " ", " ".join(lines)).strip())
    if text.startswith("Raises "):
        return [f"**Raises** {text.removeprefix('Raises ')}"]
    if not parameters:
        return [text]
    opening = re.compile(
        rf"(?:(?<=^)|(?<=[.;] ))((?:{'|'.join(parameters)})(?:, (?:{'|'.join(parameters)}))*): "
    )
    pieces = opening.split(text)
    parts = [pieces[0].strip()] if pieces[0].strip() else []
    for names, said in zip(pieces[1::2], pieces[2::2], strict=True):
        marked = ", ".join(f"`{name}`" for name in names.split(", "))
        parts.append(f"- {marked}: {said.strip()}")
    return parts


def _definitions(lines: list[str]) -> list[str]:
    """Terms on lines of their own, what they mean indented below."""
    parts: list[str] = []
    for one in lines:
        if _TERM.fullmatch(one.strip()) and not one.startswith(" "):
            parts.append(f"- {_code(one.strip())}:")
        elif parts:
            parts[-1] += f" {_code(one.strip())}"
        else:
            parts.append(_code(one.strip()))
    return parts


def _code(text: str) -> str:
    return _DOUBLE.sub(lambda match: f"`{match[1]}`", text)
