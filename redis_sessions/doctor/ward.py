"""What the checks of the data share: the store's parts, the scripts that mend, and the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis_sessions.doctor.report import Finding, Report
from redis_sessions.errors import WrongTypeError
from redis_sessions.mend_scripts import MendScripts

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from redis_sessions.keys import FlowKeys
    from redis_sessions.parts import Parts
    from redis_sessions.transport import Command

PAGE = 200


class Ward:
    """One examination of the data.

    Attributes:
        mend: what is found is mended where that is possible.
        settle: seconds after which a call that is under way now is over.
        logless: names without logs that were met.
        ownerless: flows whose id map was of a wrong type, and with it who owns them.
        aliasless: flows whose map of adopted ids was of a wrong type.
    """

    def __init__(self, parts: Parts, *, mend: bool, settle: float) -> None:
        self.parts = parts
        self.mend = mend
        self.settle = settle
        self.report: Report = Report()
        self.logless: set[tuple[FlowKeys, str]] = set()
        self.ownerless: set[str] = set()
        self.aliasless: set[str] = set()
        self.scripts: MendScripts = MendScripts(
            parts.calls, parts.transport, parts.replication, parts.scripts._limits
        )

    def found(self, kind: str, keys: FlowKeys | None, subject: str, text: str, mended: str = "") -> None:
        """Note a finding; ``mended`` says what was done about it."""
        self.report.add(Finding(kind, keys.flow_id if keys else None, subject, text, mended))

    async def read(self, commands: Sequence[tuple[bytes, Command]]) -> list[Any]:
        """The replies to plain commands on keys of any shards; None for a key of a wrong type."""
        try:
            return await self.parts.calls.read(lambda: self.parts.transport.scatter(commands))
        except WrongTypeError:
            if len(commands) == 1:
                return [None]
            return [(await self.read([command]))[0] for command in commands]

    async def members(self, command: str, key: bytes) -> AsyncGenerator[list[Any], None]:
        """What SSCAN, HSCAN or ZSCAN gives: some members, or (member, value) pairs, at a time."""
        cursor: Any = b"0"
        while True:
            [reply] = await self.read([(key, (command, key, cursor, "COUNT", PAGE))])
            if reply is None:
                return
            cursor, flat = reply
            items = list(flat.items()) if isinstance(flat, dict) else list(flat)
            if command != "SSCAN" and items and not isinstance(items[0], tuple | list):
                items = list(zip(items[::2], items[1::2], strict=True))
            for first in range(0, len(items), PAGE):
                yield items[first : first + PAGE]
            if not int(cursor):
                return
