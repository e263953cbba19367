"""What we use of trio-util, whose own annotations are incomplete."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Generic, TypeVar, overload

T = TypeVar("T")

class AsyncValue(Generic[T]):
    def __init__(self, value: T) -> None: ...
    value: T
    @overload
    async def wait_value(self, value: T, *, held_for: float = 0) -> T: ...
    @overload
    async def wait_value(self, predicate: Callable[[T], bool], *, held_for: float = 0) -> T: ...
    def eventual_values(
        self, value_or_predicate: Callable[[T], bool] = ..., held_for: float = 0
    ) -> AbstractAsyncContextManager[AsyncIterator[T]]: ...

async def wait_any(*args: Callable[[], Awaitable[object]]) -> None: ...
async def wait_all(*args: Callable[[], Awaitable[object]]) -> None: ...
