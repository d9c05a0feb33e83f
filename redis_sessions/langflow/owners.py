"""Whose a flow is, as Langflow's database has it, for those who read Redis without Langflow.

Inside Langflow access asks the database. A monitor of its own (``redis-sessions serve
--access langflow``), the command line and an export know a flow's owner from Redis only: so chat memory names
it with each write. The database is right: where Redis says another owner, it is corrected.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from typing import TYPE_CHECKING
from uuid import UUID

from lfx.utils.langflow_utils import has_langflow_db_backend

from redis_sessions.errors import OwnerMismatchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis_sessions.models import Message, NewMessage
    from redis_sessions.store import SessionStore

logger: logging.Logger = logging.getLogger("redis_sessions.langflow")

_SECONDS = 60.0
"""How long an answer of the database's is believed."""
_MOST = 4_096

_known: OrderedDict[str, tuple[float, str | None]] = OrderedDict()


async def owner_of(flow_id: str) -> str | None:
    """The id of the flow's user; None where there is no such flow, as of a shared one's, or no database."""
    now = time.monotonic()
    known = _known.get(flow_id)
    if known is not None and known[0] > now:
        return known[1]
    try:
        owner = await _ask(flow_id)
    except Exception as error:  # noqa: BLE001 - whatever the database raises, the message is to be stored
        logger.warning("the owner of flow %s could not be read: %s", flow_id, type(error).__name__)
        return None
    _known[flow_id] = now + _SECONDS, owner
    _known.move_to_end(flow_id)
    if len(_known) > _MOST:
        _known.popitem(last=False)
    return owner


async def append_many(store: SessionStore, flow_id: str, messages: Sequence[NewMessage]) -> list[Message]:
    """Store messages in a flow that is its owner's."""
    owner = await owner_of(flow_id)
    try:
        return await store.append_many(flow_id, messages, owner=owner)
    except OwnerMismatchError:
        _known.pop(flow_id, None)
        owner = await owner_of(flow_id)
        await store.set_owner(flow_id, owner)
        return await store.append_many(flow_id, messages, owner=owner)


def forget() -> None:
    """Ask the database again."""
    _known.clear()


async def _ask(flow_id: str) -> str | None:
    if not has_langflow_db_backend():
        return None
    try:
        key = UUID(flow_id)
    except ValueError:
        return None
    from langflow.services.database.models.flow.model import Flow
    from lfx.services.deps import session_scope_readonly
    from sqlmodel import select

    async with session_scope_readonly() as database:
        owner = (await database.exec(select(Flow.user_id).where(Flow.id == key))).first()
    return str(owner) if owner is not None else None
