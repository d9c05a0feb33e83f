"""Chat memory for ``lfx run`` and ``lfx serve`` without Langflow: whose it is, and of which flow.

Stock lfx keeps nothing there, and so gives a run what chat memory cannot use: no flow id (``lfx run``), and a
user made up for this run. Here

- a flow without an id gets one made of its components' ids, which a flow keeps when it is edited;
  ``REDIS_SESSIONS_FLOW_ID`` names another. ``lfx serve`` gives flows their ids itself;
- where lfx made a user up, messages belong to one that all such runs share, as files do there. An identified
  caller (``lfx serve --identity``) has its own.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, UUID, uuid5

from redis_sessions.langflow import runtime, seams

if TYPE_CHECKING:
    from collections.abc import Callable

SHARED_OWNER = uuid5(NAMESPACE_URL, "redis-sessions:lfx:shared")

_stock: dict[str, Callable[..., Any]] = {}


def install() -> None:
    """Replace what lfx decides flow and owner with. May be repeated.

    Raises:
        SeamError: this lfx decides it elsewhere.
    """
    defaults = importlib.import_module("lfx.run._defaults")
    context = importlib.import_module("lfx.memory.flow_context")
    _stock["defaults"] = seams.replace(defaults, "apply_run_defaults", apply_run_defaults)
    _stock["owner"] = seams.replace(context, "resolve_message_owner_id", resolve_message_owner_id)


def apply_run_defaults(
    graph: Any, *, session_id: str | None, user_id: str | None, overwrite_user_id: bool = True
) -> tuple[str, str]:
    """lfx's own, and a flow id for a graph that has none."""
    applied: tuple[str, str] = _stock["defaults"](
        graph, session_id=session_id, user_id=user_id, overwrite_user_id=overwrite_user_id
    )
    if graph.flow_id is None:
        named = runtime.settings().flow_id
        graph.flow_id = str(named) if named else flow_id_of(vertex.id for vertex in graph.vertices)
    return applied


def resolve_message_owner_id(graph: Any) -> UUID | None:
    """lfx's own, and the shared owner for a user that lfx made up."""
    made_up = getattr(graph, "_headless_filesystem_user_id", None)
    if made_up is not None and made_up == getattr(graph, "user_id", None):
        return SHARED_OWNER
    owner: UUID | None = _stock["owner"](graph)
    return owner


def flow_id_of(components: Any) -> str:
    """A flow id made of the ids of its components."""
    return str(uuid5(NAMESPACE_URL, "redis-sessions:lfx:" + "\n".join(sorted(components))))
