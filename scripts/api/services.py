"""What each service of the contract has, read from its .proto."""

from __future__ import annotations

import re
from pathlib import Path

_SERVICE = re.compile(r"((?://[^\n]*\n)+)service (\w+) \{\n(.*?)\n\}", re.DOTALL)
_CALL = re.compile(
    r"((?:  //[^\n]*\n)+)  rpc (\w+)\((stream )?\w+\) returns \((stream )?\w+\)", re.DOTALL
)
_KINDS = {
    ("", ""): "",
    ("", "stream "): "answers stream",
    ("stream ", ""): "requests stream",
    ("stream ", "stream "): "both stream",
}


def services(folder: Path) -> str:
    """A table of calls for each service, in the order of the files' names."""
    parts: list[str] = []
    for path in sorted(folder.glob("*_service.proto")):
        for service in _SERVICE.finditer(path.read_text("utf-8")):
            rows = [
                f"| `{call[2]}` | {_KINDS[call[3] or '', call[4] or '']} | {_comment(call[1])} |"
                for call in _CALL.finditer(service[3])
            ]
            head = f"**`memdb.v1.{service[2]}`** ({path.name}): {_comment(service[1])}"
            parts.append("\n".join([head, "", "| call | | what it does |", "|---|---|---|", *rows]))
    return "\n\n".join(parts)


def _comment(text: str) -> str:
    return " ".join(line.strip().removeprefix("//").strip() for line in text.splitlines())
