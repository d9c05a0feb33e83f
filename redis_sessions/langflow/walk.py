"""Walks over everything that the store has: for what looks for a person's data, wherever it is.

As much is read as there is. Such walks are for rare tasks (erasing, exporting, moving files), never for a
request of a flow or of the editor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from uuid import UUID

    from redis_sessions import models
    from redis_sessions.store import SessionStore

PAGE = 500


async def flows(store: SessionStore, scope: Iterable[UUID | str] = ()) -> list[str]:
    """The flows in scope; without one, all."""
    return [str(flow) for flow in scope] or await store.flows()


async def sessions(store: SessionStore, flow_id: str) -> list[str]:
    """All sessions of a flow, as they are now: what is deleted meanwhile does not shift them."""
    names: list[str] = []
    while page := await store.sessions(flow_id, limit=PAGE, offset=len(names)):
        names += page
        if len(page) < PAGE:
            break
    return names


async def pages(
    store: SessionStore, flow_id: str, session: str, *, user_id: UUID | str | None = None
) -> AsyncIterator[list[models.Message]]:
    """A session's messages, or a person's in it, the newest page first. They may be deleted meanwhile."""
    before: models.Message | None = None
    while True:
        page = await store.history(flow_id, session, limit=PAGE, before=before, user_id=user_id)
        if page:
            yield page
        if len(page) < PAGE:
            return
        before = page[0]
