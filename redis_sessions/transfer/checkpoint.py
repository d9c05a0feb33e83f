"""How far an import came: a small key of the store, so that any machine can go on.

It says: every row of this source up to this place was brought over. Two imports of one source at once each
write what is true; the place may go back, never wrongly forward. It goes when the import ends, and after a
week without progress. An import without it brings nothing twice; it only takes longer.
"""

from __future__ import annotations

import json
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

from redis_sessions.keys import Keys

if TYPE_CHECKING:
    from redis_sessions.store import SessionStore
    from redis_sessions.transfer.records import Position
    from redis_sessions.transfer.scope import Scope

_KEPT = timedelta(days=7)


class Checkpoint:
    """The place that an import of a source, in a scope, came to."""

    def __init__(self, store: SessionStore, identity: str, scope: Scope) -> None:
        since = scope.since.isoformat() if scope.since is not None else ""
        flows = "" if scope.flows is None else json.dumps(sorted(scope.flows))
        name = sha256("\n".join((identity, since, flows)).encode()).hexdigest()[:32]
        self._parts = store._parts
        self._key = Keys(store.settings.prefix).transfer(name)

    async def load(self) -> Position | None:
        (text,) = await self._parts.calls.read(
            lambda: self._parts.transport.run(self._key, ("GET", self._key))
        )
        try:
            position = json.loads(text) if text is not None else None
        except ValueError:
            return None
        return position if isinstance(position, dict) else None

    async def save(self, position: Position) -> None:
        text = json.dumps(position).encode()
        await self._parts.calls.write(
            lambda _: self._parts.transport.run(
                self._key, ("SET", self._key, text, "EX", int(_KEPT.total_seconds()))
            ),
            self._parts.calls.begin(),
        )

    async def clear(self) -> None:
        await self._parts.calls.write(
            lambda _: self._parts.transport.run(self._key, ("DEL", self._key)), self._parts.calls.begin()
        )
