"""A small memory of what was computed last."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Keeps the results that were asked for last.

    Args:
        most: how many are kept.

    Example:
        >>> squares = Recent[int, int](most=2)
        >>> squares.get(3, lambda: 3 * 3)
        9
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K, make: Callable[[], V]) -> V:
        """Returns the result for a key, made now if it is not kept."""
        if key not in self._kept:
            self._kept[key] = make()
        self._kept.move_to_end(key)
        value = self._kept[key]
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return value
