"""What the application around the monitor adds to its endpoints. By itself: nothing."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable
    from uuid import UUID

    from starlette.background import BackgroundTask

    from redis_sessions.models import Message
    from redis_sessions.monitor.access import Principal
    from redis_sessions.store import SessionStore


class Host:
    """The monitor on its own. An application that it runs inside makes a subclass."""

    async def has_flow(self, store: SessionStore, flow_id: UUID | str) -> bool:
        """Whether a flow that the caller may see is there. On its own: something of it is stored."""
        return await store.has_flow(flow_id)

    def check_attachments(self, files: Iterable[str] | None, scopes: Iterable[str]) -> None:
        """Files are ``<scope>/<file name>``, in the caller's or the flow's own scope (Langflow 1.13).

        Raises:
            HTTPException: 400, one is not.
        """
        allowed = {scope.casefold() for scope in scopes}
        for file in files or ():
            scope, _, name = file.partition("/")
            absolute = PurePosixPath(file).is_absolute() or PureWindowsPath(file).drive
            unsafe = not name or ".." in name or any(char in name for char in "/\\\x00")
            if absolute or unsafe or scope.casefold() not in allowed:
                raise HTTPException(400, "Message attachment is outside the permitted storage scope.")

    def updated(self, before: Message, after: Message) -> BackgroundTask | None:
        """A message was changed by its owner; what is returned is run when the answer has been sent."""

    def deleting_messages(
        self, principal: Principal, sessions: Callable[[], Awaitable[Collection[str]]]
    ) -> AbstractAsyncContextManager[object]:
        """Messages are deleted inside; ``sessions`` reads which sessions they are in.

        Raises:
            HTTPException: 409, not now. Nothing is deleted.
        """
        return nullcontext()

    def deleting_sessions(
        self, principal: Principal, session_ids: Collection[str]
    ) -> AbstractAsyncContextManager[Collection[str]]:
        """Sessions are deleted inside. Gives those of which the application had something itself.

        Raises:
            HTTPException: 409, not now. Nothing is deleted.
        """
        return nullcontext(())
