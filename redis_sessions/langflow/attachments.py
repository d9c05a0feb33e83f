"""Moving files to object storage (``api/utils/file_relocation.py``): attachments in Redis follow."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from redis_sessions import MessageUpdate
from redis_sessions.errors import MessageNotFoundError
from redis_sessions.langflow import runtime, seams, walk

if TYPE_CHECKING:
    from langflow.api.utils.file_relocation import FileRelocationResult
    from langflow.services.storage.service import StorageService

    from redis_sessions import models

_ABSOLUTE = re.compile(r"[/\\]|[A-Za-z]:[/\\]")


def install() -> None:
    """May be repeated.

    Raises:
        SeamError: this Langflow's functions are not those of 1.13.
    """
    from langflow.api.utils import file_relocation

    seams.replace(file_relocation, "_repoint_message_attachments", _repoint_message_attachments)


async def _repoint_message_attachments(
    source: StorageService, stored: set[tuple[str, str]], namespaces: list[str], *, dry_run: bool
) -> list[FileRelocationResult]:
    """Attachments that are named by a path on this disk get the name that object storage knows.

    Messages of the given flows and people; those in Langflow's database first. An attachment without a file
    is reported and left as it is.
    """
    from langflow.api.utils import file_relocation

    stock = seams.stock(file_relocation, "_repoint_message_attachments")
    results: list[FileRelocationResult] = await stock(source, stored, namespaces, dry_run=dry_run)
    store = await runtime.store()
    in_scope = set(namespaces)
    for flow in await store.flows():
        for session in await walk.sessions(store, flow):
            async for page in walk.pages(store, flow, session):
                for message in page:
                    if message.files and (flow in in_scope or message.user_id in in_scope):
                        files, found = _portable(message, str(source.data_dir), stored, dry_run=dry_run)
                        results += found
                        if files != message.files and not dry_run:
                            await _repoint(message, files)
    return results


async def _repoint(message: models.Message, files: list[str]) -> None:
    store = await runtime.store()
    try:
        await store.update(message.id, MessageUpdate(files=files), flow_id=message.flow_id, mark_edited=False)
    except MessageNotFoundError:
        return  # deleted meanwhile


def _portable(
    message: models.Message, data_dir: str, stored: set[tuple[str, str]], *, dry_run: bool
) -> tuple[list[str], list[Any]]:
    """A message's attachments by their portable names, and what is to be reported of them."""
    from langflow.api.utils import file_relocation

    files, results = [], []
    for entry in message.files:
        portable = (
            file_relocation._portable_attachment_path(entry, data_dir, stored)
            if _ABSOLUTE.match(entry)
            else entry
        )
        files.append(portable or entry)
        if portable == entry:
            continue
        name = PurePosixPath(entry.replace("\\", "/")).name
        if portable is None:
            result = file_relocation.FileRelocationResult(
                owner=message.flow_id,
                file_name=name,
                key="",
                status="failed",
                reason=(
                    f"chat attachment in message {message.id} has no matching file in source storage; "
                    f"left as {entry}"
                ),
                code="attachment_unmatched",
            )
        else:
            result = file_relocation.FileRelocationResult(
                owner=portable.split("/")[0],
                file_name=name,
                key=portable,
                status="would_repoint" if dry_run else "repointed",
                reason=f"chat attachment in message {message.id}",
            )
        results.append(result)
    return files, results
