"""The other places of Langflow that use its message table directly.

``docs/langflow-limits.md`` has the table of what works how, and what does not.
"""

from __future__ import annotations

import logging

from redis_sessions.langflow import attachments, cards, memory_base, runtime

logger: logging.Logger = logging.getLogger("redis_sessions.langflow")

LIMITS = (
    "what Langflow's database had before (messages, builds, transactions) is not shown until it is imported",
    "of a vertex's builds each job keeps the latest",
    "max_vertex_builds_to_keep counts for each flow, and for all together flow by flow",
    "histories of public flows under a visitor's own flow id are not deleted with the flow",
)
"""What is not as in a stock Langflow; said once at start."""
_said: set[str] = set()


def install(app: object = None) -> None:
    """Let them use Redis. May be repeated.

    Args:
        app: an application is being made, and what is not as in a stock Langflow is logged.

    Raises:
        SeamError: this Langflow's functions are not those of 1.13.
    """
    attachments.install()
    cards.install()
    memory_base.install()
    if app is not None and runtime.active() and "limits" not in _said:
        _said.add("limits")
        logger.info("not as in a stock Langflow: %s", "; ".join(LIMITS))
