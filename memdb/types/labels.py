"""Labels of a clip: text by text, as read back."""

from __future__ import annotations

from typing import Any, NoReturn, Self


class Labels(dict[str, str]):
    """A mapping that is only read.

    A dict, so that `copy.deepcopy`, `dataclasses.asdict`, pickle and json take it, which they do not take a
    `types.MappingProxyType`.
    """

    __slots__ = ()

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("labels of a clip are only read; dict(labels) gives a copy to change")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _: dict[int, Any]) -> Self:
        return self  # of texts, which do not change either

    def __reduce__(self) -> tuple[type[Self], tuple[dict[str, str]]]:
        return type(self), (dict(self),)
