"""What Langflow's own monitor endpoints do beside the messages: attachments, feedback, Memory Bases."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING
from uuid import UUID

from langflow.api.v1 import monitor as stock
from langflow.services.deps import get_memory_base_service
from langflow.services.knowledge_base_storage.runtime import StorageUnavailableError
from langflow.services.memory_base.ingestion import session_storage_operation
from langflow.services.tracing import langfuse
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException

from redis_sessions.monitor.host import Host

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator

    from redis_sessions.models import Message
    from redis_sessions.monitor.access import Principal
    from redis_sessions.store import SessionStore


class LangflowHost(Host):
    """The monitor inside Langflow 1.13 (``api/v1/monitor.py``)."""

    async def has_flow(self, store: SessionStore, flow_id: UUID | str) -> bool:
        """Always: which flows there are, Langflow's database has said before."""
        return True

    def check_attachments(self, files: Iterable[str] | None, scopes: Iterable[str]) -> None:
        """As Langflow: uploaded files, and paths in its storage that components have resolved."""
        stock._validate_message_attachment_scopes(list(files or ()), tuple(scopes))

    def updated(self, before: Message, after: Message) -> BackgroundTask | None:
        """Tells Langfuse of changed feedback, where it is configured and the message has a trace."""
        feedback = after.stored_properties.positive_feedback
        trace = langfuse.normalize_langfuse_trace_id((after.session_metadata or {}).get("langfuse_trace_id"))
        if feedback == before.stored_properties.positive_feedback or not trace:
            return None
        if not stock._langfuse_feedback_sync_enabled():
            return None
        if feedback is None:
            return BackgroundTask(langfuse.delete_feedback_score, message_id=after.id)
        return BackgroundTask(
            langfuse.sync_feedback_score,
            message_id=after.id,
            trace_id=trace,
            session_id=after.session_id,
            flow_id=after.flow_id,
            sender=after.sender,
            positive_feedback=feedback,
        )

    @asynccontextmanager
    async def deleting_messages(
        self, principal: Principal, sessions: Callable[[], Awaitable[Collection[str]]]
    ) -> AsyncIterator[None]:
        """Not while the storage of a Memory Base with one of the sessions is being moved."""
        with _conflict():
            async with session_storage_operation(
                user_id=UUID(principal.id), session_ids=list(await sessions())
            ):
                yield

    @asynccontextmanager
    async def deleting_sessions(
        self, principal: Principal, session_ids: Collection[str]
    ) -> AsyncIterator[Collection[str]]:
        """What Memory Bases have of the sessions goes first."""
        owner, ids = UUID(principal.id), list(session_ids)
        with _conflict():
            async with session_storage_operation(user_id=owner, session_ids=ids) as tracked:
                if tracked:
                    await get_memory_base_service().purge_session_data(user_id=owner, session_ids=ids)
                yield {session.session_id for _, session in tracked}


@contextmanager
def _conflict() -> Iterator[None]:
    try:
        yield
    except StorageUnavailableError as error:
        raise HTTPException(409, str(error)) from error
