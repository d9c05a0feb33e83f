"""The transaction service: component runs, in Redis.

Langflow's own classes mask what is secret and shorten what is long, exactly as before it stores and shows
them; what is kept is what ``GET /monitor/transactions`` shows. Bare lfx has none of these classes, and its
transactions are not kept here either.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import importlib.util
import logging
from typing import TYPE_CHECKING, Any
from uuid import UUID

from lfx.services.base import Service
from lfx.services.interfaces import TransactionServiceProtocol

from redis_sessions import models
from redis_sessions.body import encode_json
from redis_sessions.langflow import recorder

if TYPE_CHECKING:
    from redis_sessions.store import SessionStore

logger: logging.Logger = logging.getLogger("redis_sessions.langflow")

_NEWEST = 200
"""How far back an attempt is looked for that may have been carried out."""


class TransactionService(Service, TransactionServiceProtocol):
    """Notes component runs, behind the run that makes them (``recorder.py``).

    ``transactions_storage_enabled`` turns it off; each flow keeps the newest ``max_transactions_to_keep``.
    Both are asked for every time, as Langflow does.
    """

    name = "transaction_service"

    def __init__(self, settings_service: Any) -> None:
        super().__init__()
        self._settings = settings_service

    async def log_transaction(
        self,
        flow_id: str,
        vertex_id: str,
        inputs: dict[str, Any] | None,
        outputs: dict[str, Any] | None,
        status: str,
        target_id: str | None = None,
        error: str | None = None,
        *,
        user_id: UUID | None = None,
        session_id: str | None = None,
    ) -> None:
        """Note a component's run; what cannot be noted is logged, and the run goes on."""
        if not self.is_enabled() or not flow_id:
            return
        try:
            transaction = shown(
                vertex_id=vertex_id,
                target_id=target_id,
                inputs=inputs,
                outputs=outputs,
                status=status,
                error=error,
                flow_id=UUID(str(flow_id)),
                user_id=user_id,
                session_id=session_id,
            )
        except Exception as problem:  # noqa: BLE001 - recordings never fail a run
            logger.warning("transaction of %s not noted: %s", vertex_id, type(problem).__name__)
            return
        keep(transaction, self._settings.settings.max_transactions_to_keep)

    def is_enabled(self) -> bool:
        """Whether transactions are kept at all."""
        return _has_langflow() and bool(
            getattr(self._settings.settings, "transactions_storage_enabled", False)
        )

    async def teardown(self) -> None:
        """Write what still waits."""
        await asyncio.to_thread(recorder.flush)


def shown(**fields: Any) -> models.Transaction:
    """A transaction as Langflow would show it, through the classes that it would pass on the way."""
    rows = importlib.import_module("langflow.services.database.models.transactions.model")
    row = rows.TransactionTable(**rows.TransactionBase(**fields).model_dump())
    answer = rows.TransactionLogsResponse.model_validate(row, from_attributes=True).model_dump(mode="json")
    answer |= {
        name: getattr(row, name) for name in ("timestamp", "error", "flow_id", "user_id", "session_id")
    }
    return models.Transaction.model_validate(answer)


def keep(transaction: models.Transaction, most: int) -> None:
    """Give a transaction to the recorder. Of a flow's transactions the newest ``most`` are kept."""
    if most < 1:
        return

    async def write(store: SessionStore, maybe_done: bool) -> None:
        if maybe_done:
            newest = await store.transactions(transaction.flow_id, limit=_NEWEST)
            if any(each.id == transaction.id for each in newest):
                return
        await store.add_transaction(transaction, max_transactions=most)

    size = len(encode_json([transaction.inputs, transaction.outputs]))
    recorder.record(f"transaction of {transaction.vertex_id}", write, size=size)


@functools.cache
def _has_langflow() -> bool:
    return importlib.util.find_spec("langflow") is not None
