"""A parser whose verbs say in their own help, too, what the list of verbs says of them, and take their options between
what stands without one.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any


class VerbParser(argparse.ArgumentParser):
    """Of the command, and of each of its verbs."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.register("action", "parsers", _Verbs)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As ever; what may be left out may come behind an option as well, where argparse has it left out already."""
        found, others = super().parse_known_args(args, namespace)
        for action in self._get_positional_actions():
            is_left_out = action.nargs == argparse.OPTIONAL and getattr(found, action.dest) is None
            if is_left_out and others and not others[0].startswith("-"):
                setattr(found, action.dest, others.pop(0))
        return found, others


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
