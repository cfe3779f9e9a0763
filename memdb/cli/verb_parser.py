"""A parser whose verbs say in their own help, too, what the list of verbs says of them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any


class VerbParser(argparse.ArgumentParser):
    """Of the command, and of each of its verbs."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.register("action", "parsers", _Verbs)


if TYPE_CHECKING:
    _OfVerbs = argparse._SubParsersAction[VerbParser]
else:
    _OfVerbs = argparse._SubParsersAction  # which takes no parameter when it runs


class _Verbs(_OfVerbs):
    def add_parser(self, name: str, **options: Any) -> VerbParser:
        """As ever; what has a ``help`` begins with it."""
        told: str = options.get("help") or ""
        options.setdefault("description", f"{told[:1].upper()}{told[1:]}." if told else None)
        return super().add_parser(name, **options)
