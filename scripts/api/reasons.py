"""Which reasons the code gives each class of errors, read from where it raises them.

A reason is written out where an error is made, or is a constant or variable of the function that makes it, or is
handed to a helper that has a parameter for it, or to a class that has a field for it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from memdb.errors import FAMILIES

_REASON: Final = re.compile(r"[A-Z][A-Z_]+")


def reasons(paths: Iterable[Path]) -> dict[str, list[str]]:
    """By class of `memdb.errors` every reason that some modules give its errors, its default included."""
    trees = [ast.parse(path.read_text("utf-8")) for path in paths]
    found = {family.__name__: {family.default_reason} for family in FAMILIES}
    helpers: dict[str, tuple[int, str, str]] = {}
    for tree in trees:
        for scope in (tree, *_functions(tree)):
            for family, reason in _made(scope, set(found)):
                found[family] |= _constants(reason)
                for name in _names(reason):
                    place = _place(scope, name)
                    if place is not None and isinstance(scope, ast.FunctionDef):
                        helpers[scope.name] = (place, name, family)
                    else:
                        found[family] |= _assigned(scope, name) or _assigned(tree, name)
        for owner in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
            fields = [
                ast.unparse(one.target) for one in owner.body if isinstance(one, ast.AnnAssign)
            ]
            for family, reason in _made(owner, set(found)):
                name = ast.unparse(reason).removeprefix("self.")
                if isinstance(reason, ast.Attribute) and name in fields:
                    helpers[owner.name] = (fields.index(name), name, family)
    for tree in trees:
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            if (helper := helpers.get(_called(call))) is not None:
                place, name, family = helper
                given = [one.value for one in call.keywords if one.arg == name]
                given += call.args[place : place + 1]
                found[family] |= {reason for one in given for reason in _constants(one)}
    return {family: sorted(texts) for family, texts in found.items()}


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def _made(scope: ast.AST, families: set[str]) -> Iterator[tuple[str, ast.expr]]:
    """(class, its reason) of each error that is made in a function or module."""
    for node in ast.walk(scope):
        if isinstance(node, ast.Call) and _called(node) in families:
            for keyword in node.keywords:
                if keyword.arg == "reason":
                    yield _called(node), keyword.value


def _called(node: ast.Call) -> str:
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


def _place(scope: ast.AST, name: str) -> int | None:
    """Where a function has a parameter, not counting ``self``; beyond the last where by keyword alone."""
    if not isinstance(scope, ast.FunctionDef):
        return None
    names = [one.arg for one in scope.args.args if one.arg != "self"]
    if name in names:
        return names.index(name)
    return len(names) if name in [one.arg for one in scope.args.kwonlyargs] else None


def _assigned(scope: ast.AST, name: str) -> set[str]:
    """Every reason that is put into a variable, also as part of a tuple."""
    found: set[str] = set()
    for node in ast.walk(scope):
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign):
            targets = [node.target]
        else:
            continue
        if node.value is not None and any(name in _names(target) for target in targets):
            found |= _constants(node.value)
    return found


def _names(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def _constants(node: ast.AST) -> set[str]:
    return {
        part.value
        for part in ast.walk(node)
        if isinstance(part, ast.Constant)
        and isinstance(part.value, str)
        and _REASON.fullmatch(part.value)
    }
