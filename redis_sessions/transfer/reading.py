"""A blocking source, read ahead in a thread of its own while the store is written."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Iterator

T = TypeVar("T")

_END = object()


async def ahead(items: Iterator[T]) -> AsyncGenerator[T, None]:
    """The items, the next one being made while one is used."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1, thread_name_prefix="transfer") as thread:
        coming = loop.run_in_executor(thread, next, items, _END)
        try:
            while (item := await coming) is not _END:
                coming = loop.run_in_executor(thread, next, items, _END)
                yield cast("T", item)
        finally:
            await asyncio.wait([coming])
            if not coming.cancelled():
                coming.exception()
            if hasattr(items, "close"):
                await loop.run_in_executor(thread, cast("Generator[T, None, None]", items).close)
