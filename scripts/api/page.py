"""The page: a template in which lines ``{{ what names... }}`` stand for what the code says.

``{{ methods HANDLE CLASS NAME... }}``
    those of a class of `memdb.types.database`, called on a handle
``{{ functions MODULE NAME... }}``
    those of a module
``{{ values NAME... }}``
    public values of `memdb`, with their fields
``{{ choices MODULE NAME... }}``
    constants and their docstrings
``{{ contents }}``, ``{{ errors }}``, ``{{ limits }}``, ``{{ differences }}``, ``{{ services }}``
    as they say
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import memdb
from memdb.errors import FAMILIES, MemdbError
from memdb.types import database, limits
from scripts.api.differences import differences
from scripts.api.reasons import reasons
from scripts.api.services import services
from scripts.api.source import Member, constants, described, function, members
from scripts.api.text import line, markdown

ROOT: Final = Path(__file__).resolve().parents[2]
TEMPLATE: Final = Path(__file__).with_name("page.md")
_DIRECTIVE: Final = re.compile(r"^\{\{ (\w+)(.*?) \}\}$", re.MULTILINE)
COMMANDS: Final = ("cli", "portable")
"""Packages whose errors reach no caller: commands have a reason of their own for wrong usage."""
CLIENT: Final = ROOT / "clients" / "python" / "memdb_client"
INTERFACE: Final = ("Database", "User", "Stream", "IngestWriter", "Standing")


class Incomplete(Exception):
    """The template leaves out something public, or names what is not there."""


class Page:
    """Fills in the template once, and knows what it has told."""

    def __init__(self) -> None:
        self._told: list[str] = []
        self._kinds: dict[str, Callable[[list[str]], str]] = {
            "methods": self._methods,
            "functions": self._functions,
            "values": self._values,
            "choices": self._choices,
            "errors": self._errors,
            "limits": self._limits,
            "differences": lambda _: differences(),
            "services": lambda _: services(ROOT / "proto" / "memdb" / "v1"),
        }

    def text(self) -> str:
        """The whole page.  Raises `Incomplete` unless every public name stands on it once."""
        template = TEMPLATE.read_text("utf-8")
        filled = _DIRECTIVE.sub(self._filled, template)
        self._check()
        return filled.replace("{{ contents }}", _contents(filled))

    def _filled(self, match: re.Match[str]) -> str:
        if match[1] == "contents":
            return match[0]
        kind = self._kinds.get(match[1])
        if kind is None:
            raise Incomplete(f"{TEMPLATE.name}: no directive {match[1]!r}")
        return kind(match[2].split())

    def _methods(self, words: list[str]) -> str:
        handle, name, *wanted = words
        known = {one.name: one for one in members(getattr(database, name))}
        parts = []
        for one in wanted:
            if one not in known:
                raise Incomplete(f"{TEMPLATE.name}: {name} has no {one}")
            self._told.append(f"{name}.{one}")
            parts.append(_member(f"{handle}.{one}", known[one]))
        return "\n\n".join(parts)

    def _functions(self, words: list[str]) -> str:
        module = importlib.import_module(words[0])
        parts = []
        for name in words[1:]:
            self._told.append(f"{words[0]}.{name}")
            parts.append(_member(f"{words[0]}.{name}", function(getattr(module, name))))
        return "\n\n".join(parts)

    def _values(self, names: list[str]) -> str:
        parts = []
        for name in names:
            self._told.append(f"memdb.{name}")
            found = described(getattr(memdb, name))
            part = f"### `{name}`\n\n{markdown(found.doc)}"
            if any(base in memdb.__all__ for base in found.bases):
                part += f"\n\nHas every field of `{found.bases[0]}`, and:"
            rows = [
                f"| `{one.name}` | `{one.signature.replace('|', chr(92) + '|')}` | {line(one.doc)} |"
                for one in found.members
                if one.is_field
            ]
            part += "\n\n" + "\n".join(["| field | type | |", "|---|---|---|", *rows])
            methods = [one for one in found.members if not one.is_field]
            for one in methods:
                part += f"\n\n`{name.lower()}.{one.name}{one.signature}`: {line(one.doc)}"
            parts.append(part)
        return "\n\n".join(parts)

    def _choices(self, words: list[str]) -> str:
        known = constants(importlib.import_module(words[0]))
        parts = []
        for name in words[1:]:
            value, doc = known[name]
            parts.append(f"**`{name}`** (`{words[0]}`) = `{value}`\n\n{markdown(doc)}")
        return "\n\n".join(parts)

    def _errors(self, _: list[str]) -> str:
        given = reasons(_raising())
        self._told += ["memdb.MemdbError", *(f"memdb.{family.__name__}" for family in FAMILIES)]
        parts = [f"### `MemdbError`\n\n{markdown(MemdbError.__doc__ or '')}"]
        for family in FAMILIES:
            name = family.__name__
            listed = ", ".join(f"`{reason}`" for reason in given[name])
            again = " Tried again by the clients." if family.retryable else ""
            parts.append(
                f"### `{name}`\n\n{markdown(family.__doc__ or '')}{again}\n\nReasons: {listed}."
            )
        return "\n\n".join(parts)

    def _limits(self, _: list[str]) -> str:
        rows = [
            f"| `{name}` | `{value}` | {line(doc)} |"
            for name, (value, doc) in constants(limits).items()
        ]
        return "\n".join(["| limit | | |", "|---|---|---|", *rows])

    def _check(self) -> None:
        # The interface is told method by method.
        public = {f"memdb.{name}" for name in memdb.__all__ if name not in INTERFACE}
        public |= {"memdb_client.connect", "memdb_client.connect_async"}
        for name in INTERFACE:
            offered = members(getattr(database, name))
            public |= {f"{name}.{one.name}" for one in offered}
            silent = [f"{name}.{one.name}" for one in offered if not one.doc]
            if silent:
                raise Incomplete(f"no docstring: {', '.join(silent)}")
        twice = sorted({name for name in self._told if self._told.count(name) > 1})
        if missing := sorted(public - set(self._told)):
            raise Incomplete(f"{TEMPLATE.name} leaves out {', '.join(missing)}")
        if twice or (unknown := sorted(set(self._told) - public)):
            raise Incomplete(f"{TEMPLATE.name}: twice, or not public: {twice or unknown}")


def _raising() -> list[Path]:
    """The modules whose errors reach callers."""
    ours = [
        path
        for path in sorted((ROOT / "memdb").rglob("*.py"))
        if path.relative_to(ROOT / "memdb").parts[0] not in COMMANDS
    ]
    return [*ours, *sorted(CLIENT.glob("*.py"))]


def _member(heading: str, member: Member) -> str:
    doc = markdown(member.doc, member.parameters)
    if member.is_field:
        return f"### `{heading}`\n\n`{heading}: {member.signature}`\n\n{doc}"
    called = heading.rpartition(".")[2]
    return f"### `{heading}`\n\n```py\n{called}{member.signature}\n```\n\n{doc}"


def _contents(text: str) -> str:
    """A line for each group, with what it has."""
    lines: list[str] = []
    for heading in re.finditer(r"^(##|###) (.+)$", text, re.MULTILINE):
        title = heading[2]
        # As GitHub names the anchor of a heading.
        anchor = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        link = f"[{title}](#{anchor})"
        if heading[1] == "##":
            lines.append(f"- **{link}**")
        else:
            lines[-1] += (": " if lines[-1].endswith("**") else ", ") + link
    return "\n".join(lines)
