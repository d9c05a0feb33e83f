"""Whose messages a call of chat memory may see: the rules of Langflow 1.13's ``langflow/memory.py``.

A scope is a flow and a message owner. Inside a running graph it is the graph's (``lfx.memory.flow_context``),
whatever the caller names: the same is accepted, another is refused. Outside, it is what the caller names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from lfx.memory import flow_context as context

if TYPE_CHECKING:
    from uuid import UUID

    Id = str | UUID


class Scope(NamedTuple):
    """A flow, and the person its messages were stored for."""

    flow_id: str
    user_id: str


def in_graph() -> bool:
    """Whether a component of a running graph is calling."""
    return context.has_current_flow_scope()


def of_read(flow_id: Id | None, user_id: Id | None) -> Scope | None:
    """The scope of a read or of a delete by session; None when it is incomplete or not allowed."""
    if in_graph():
        return _of_graph(flow_id, user_id)
    flow, owner = context.coerce_flow_id(flow_id), context.coerce_flow_id(user_id)
    return Scope(str(flow), str(owner)) if flow is not None and owner is not None else None


def of_write(flow_id: Id | None, user_id: Id | None) -> tuple[Id | None, Id | None]:
    """The flow and owner to store under: the graph's, or outside of one what the caller names.

    Raises:
        ValueError: the graph has none, or others are named.
    """
    if not in_graph():
        return flow_id, user_id
    scope = _of_graph(flow_id, user_id)
    if scope is None:
        msg = "A valid matching flow and message owner are required to store chat history."
        raise ValueError(msg)
    return scope


def of_graph() -> Scope | None:
    """The graph's scope; None outside of one.

    Raises:
        ValueError: the graph has no flow, or no owner.
    """
    if not in_graph():
        return None
    scope = _of_graph(None, None)
    if scope is None:
        msg = "A valid flow and message owner are required for graph message operations."
        raise ValueError(msg)
    return scope


def _of_graph(flow_id: Id | None, user_id: Id | None) -> Scope | None:
    flow, owner = (
        context.coerce_flow_id(context.get_current_flow_id()),
        context.get_current_message_owner_id(),
    )
    if flow is None or owner is None:
        return None
    if flow_id is not None and context.coerce_flow_id(flow_id) != flow:
        return None
    # Saved components name the executing user, where messages belong to the end user.
    named = context.coerce_flow_id(user_id)
    trusted = (owner, context.get_current_message_executor_id())
    if user_id is not None and (named is None or named not in trusted):
        return None
    return Scope(str(flow), str(owner))
