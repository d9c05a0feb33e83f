"""What lfx loads when it discovers services: the entry point ``lfx.services``.

lfx does that in every process before it makes its first service: in Langflow's workers, in programs that use
Langflow as a library, and in bare ``lfx run`` and ``lfx serve``. So this is where chat memory is taken over
in processes that make no application. The entry is asked for as an attribute (see ``__getattr__``): the class
of the transaction service that this process shall have, which without a URL is the one it would have had.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

from redis_sessions.langflow import startup


def __getattr__(name: str) -> Any:
    if name != "transaction_service":
        raise AttributeError(name)
    if _take_over():
        from redis_sessions.langflow.transactions import TransactionService

        return TransactionService
    return _stock_transaction_service()


def _take_over() -> bool:
    if not startup.ready():
        return False
    # A command of Langflow's, or a program that uses it. An application comes to the others itself.
    others = ("builds", "cleanup", "elsewhere") if "langflow.services" in sys.modules else ()
    return startup.install(("memory", *others))


def _stock_transaction_service() -> type:
    if importlib.util.find_spec("langflow") is not None:
        from langflow.services.transaction.service import TransactionService

        return TransactionService
    from lfx.services.transaction.service import NoopTransactionService

    return NoopTransactionService
