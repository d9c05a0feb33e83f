"""The cards of human-input pauses (``api/v2/hitl.py``): answered and superseded in Redis.

A card from before sessions were in Redis is still in Langflow's database, and left to Langflow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis_sessions import MessageUpdate
from redis_sessions.errors import MessageNotFoundError
from redis_sessions.langflow import convert, runtime, seams

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID


def install() -> None:
    """May be repeated.

    Raises:
        SeamError: this Langflow's functions are not those of 1.13.
    """
    from langflow.api.v2 import hitl

    seams.replace(hitl, "mark_card_superseded", mark_card_superseded)
    seams.replace(hitl, "mark_card_answered", mark_card_answered)


async def mark_card_superseded(job_id: UUID) -> None:
    """Close the card of a run that was cancelled. What fails is logged, as in Langflow."""
    from langflow.api.v2 import hitl

    if not await _mark(job_id, None, hitl._mark_superseded):
        await seams.stock(hitl, "mark_card_superseded")(job_id)


async def mark_card_answered(
    job_id: UUID, request_id: str, decision: dict[str, Any], *, card_message_id: Any = None
) -> None:
    """Note on a card what was chosen. What fails is logged, as in Langflow."""
    from langflow.api.v2 import hitl

    def answer(blocks: list[Any]) -> bool:
        changed: bool = hitl._set_submitted_action(blocks, decision.get("action_id"), request_id)
        return changed

    if not await _mark(job_id, card_message_id, answer):
        stock = seams.stock(hitl, "mark_card_answered")
        await stock(job_id, request_id, decision, card_message_id=card_message_id)


async def _mark(job_id: UUID, card_message_id: Any, change: Callable[[list[Any]], bool]) -> bool:
    """Change a card's blocks; False when Redis has no such card."""
    from langflow.services.deps import get_job_service
    from lfx.log.logger import logger

    job = await get_job_service().get_job_by_job_id(job_id)
    card = card_message_id or ((job.job_metadata or {}).get("card_message_id") if job else None)
    if not card:
        return True
    try:
        store = await runtime.store()
        likely = [str(job.flow_id)] if job is not None and job.flow_id else []
        message = await store.get(str(card), flows=likely) if likely else None
        message = message or await store.get(str(card))
        if message is None:
            return False
        blocks = convert.to_row(message)["content_blocks"]
        if change(blocks):
            update = MessageUpdate(content_blocks=blocks)
            await store.update(message.id, update, flow_id=message.flow_id, mark_edited=False)
    except MessageNotFoundError:
        return True  # deleted meanwhile
    except Exception as error:  # noqa: BLE001 - as Langflow
        await logger.awarning("Failed to mark human-input card for job %s: %r", job_id, error)
    return True
