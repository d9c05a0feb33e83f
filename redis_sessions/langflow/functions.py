"""The functions of ``langflow.memory`` and ``lfx.memory``, over the memory service.

Their parameters are exactly those of Langflow 1.13: the seam compares them.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from redis_sessions.langflow.memory import service

if TYPE_CHECKING:
    from types import ModuleType
    from uuid import UUID

    from lfx.schema.message import Message

    Id = str | UUID

NAMES = (
    "aadd_messages",
    "aadd_messagetables",
    "add_messages",
    "adelete_messages",
    "aget_messages",
    "astore_message",
    "aupdate_messages",
    "delete_message",
    "delete_messages",
    "get_messages",
    "store_message",
)


def implementation() -> ModuleType:
    """In the place of ``lfx.memory._impl``: the module whose functions ``lfx.memory`` calls."""
    return sys.modules[__name__]


async def astore_message(
    message: Message, flow_id: Id | None = None, run_id: Id | None = None, user_id: Id | None = None
) -> list[Any]:
    """See :meth:`MemoryService.astore_message`."""
    return await service.astore_message(message, flow_id, run_id, user_id)


async def aadd_messages(
    messages: Message | list[Message],
    flow_id: Id | None = None,
    run_id: Id | None = None,
    user_id: Id | None = None,
) -> list[Message]:
    """See :meth:`MemoryService.aadd_messages`."""
    return await service.aadd_messages(messages, flow_id, run_id, user_id)


async def aadd_messagetables(messages: list[Any], session: Any) -> list[Any]:
    """See :meth:`MemoryService.aadd_messagetables`. The SQL session is not used."""
    return await service.aadd_messagetables(messages)


async def aget_messages(
    sender: str | None = None,
    sender_name: str | None = None,
    session_id: Id | None = None,
    context_id: str | None = None,
    order_by: str | None = "timestamp",
    order: str | None = "DESC",
    flow_id: Id | None = None,
    limit: int | None = None,
    user_id: Id | None = None,
) -> list[Message]:
    """See :meth:`MemoryService.aget_messages`."""
    return await service.aget_messages(
        sender, sender_name, session_id, context_id, order_by, order, flow_id, limit, user_id
    )


async def aupdate_messages(messages: Message | list[Message]) -> list[Any]:
    """See :meth:`MemoryService.aupdate_messages`."""
    return await service.aupdate_messages(messages)


async def adelete_messages(
    session_id: str | None = None,
    context_id: str | None = None,
    *,
    flow_id: Id | None = None,
    user_id: Id | None = None,
) -> None:
    """See :meth:`MemoryService.adelete_messages`."""
    await service.adelete_messages(session_id, context_id, flow_id=flow_id, user_id=user_id)


async def delete_message(id_: str) -> None:
    """See :meth:`MemoryService.adelete_message`."""
    await service.adelete_message(id_)


def store_message(
    message: Message, flow_id: Id | None = None, run_id: Id | None = None, user_id: Id | None = None
) -> list[Any]:
    """:func:`astore_message` for synchronous callers."""
    return service.store_message(message, flow_id, run_id, user_id)


def add_messages(
    messages: Message | list[Message],
    flow_id: Id | None = None,
    run_id: Id | None = None,
    user_id: Id | None = None,
) -> list[Message]:
    """:func:`aadd_messages` for synchronous callers."""
    return service.add_messages(messages, flow_id, run_id, user_id)


def get_messages(
    sender: str | None = None,
    sender_name: str | None = None,
    session_id: Id | None = None,
    context_id: str | None = None,
    order_by: str | None = "timestamp",
    order: str | None = "DESC",
    flow_id: Id | None = None,
    limit: int | None = None,
    user_id: Id | None = None,
) -> list[Message]:
    """:func:`aget_messages` for synchronous callers."""
    return service.get_messages(
        sender, sender_name, session_id, context_id, order_by, order, flow_id, limit, user_id
    )


def delete_messages(
    session_id: str | None = None,
    context_id: str | None = None,
    *,
    flow_id: Id | None = None,
    user_id: Id | None = None,
) -> None:
    """:func:`adelete_messages` for synchronous callers."""
    service.delete_messages(session_id, context_id, flow_id=flow_id, user_id=user_id)
