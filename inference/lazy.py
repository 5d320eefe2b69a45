"""Sequences made when somebody looks: a walk rejects most models without reading what is said of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar, overload

T_co = TypeVar("T_co", covariant=True)


class Lazy(Sequence[T_co]):
    """A tuple that is made on first use, once.

    Args:
        make: makes it.

    Examples:
        >>> squares = Lazy(lambda: (1, 4, 9))
        >>> squares[1], len(squares), squares == (1, 4, 9)
        (4, 3, True)
    """

    __slots__ = ("_items", "_make")

    def __init__(self, make: Callable[[], tuple[T_co, ...]]) -> None:
        self._make: Callable[[], tuple[T_co, ...]] | None = make
        self._items: tuple[T_co, ...] = ()

    @property
    def items(self) -> tuple[T_co, ...]:
        """The tuple."""
        make = self._make
        if make is not None:
            self._items = make()
            self._make = None
        return self._items

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, index: int) -> T_co: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[T_co, ...]: ...
    def __getitem__(self, index: int | slice) -> T_co | tuple[T_co, ...]:
        return self.items[index]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Lazy):
            return self.items == other.items
        return self.items == other if isinstance(other, tuple) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.items)

    def __repr__(self) -> str:
        return repr(self.items)
