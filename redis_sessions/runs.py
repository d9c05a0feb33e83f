"""What a flow's components did: the latest build of each vertex, and the newest transactions.

A build is two fields of a hash: ``t<vertex>``, its time in µs, and ``b<vertex>``, the JSON object that
``GET /monitor/builds`` shows. A transaction is an entry of a capped stream, placed by its time as messages
are: ``i``, its id; ``b``, the JSON object that ``GET /monitor/transactions`` shows and, on a second line,
what it does not show; ``t``, its time, where the entry's own is later. What was imported carries its
``origin`` on the second line of its body.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from uuid import UUID

from pydantic import ValidationError
from pydantic_core import from_json

from redis_sessions import limits
from redis_sessions.body import encode_json
from redis_sessions.clock import from_us, to_us
from redis_sessions.errors import TooLargeError
from redis_sessions.ids import EntryId, canonical
from redis_sessions.models import Transaction, VertexBuild
from redis_sessions.scripting import StaleError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from redis_sessions.calls import Attempt, Calls
    from redis_sessions.keys import FlowKeys
    from redis_sessions.reader import Reader
    from redis_sessions.registry import Registry
    from redis_sessions.scripts import Scripts
    from redis_sessions.transport import Transport

T = TypeVar("T")

MAX_BYTES = 16 * 1024 * 1024
"""The largest build or transaction: a running flow's outputs are kept, whatever they are, up to here."""
_CHUNK = 200
_ALL = 2**53
_SHOWN = ("id", "timestamp", "vertex_id", "target_id", "inputs", "outputs", "status")


class _Run(NamedTuple):
    """A stored transaction; compares in their order."""

    at: int
    place: EntryId
    body: bytes


class Runs:
    """Builds and transactions of flows."""

    def __init__(
        self, calls: Calls, transport: Transport, scripts: Scripts, registry: Registry, reader: Reader
    ) -> None:
        self._calls = calls
        self._transport = transport
        self._scripts = scripts
        self._registry = registry
        self._reader = reader

    async def put_build(
        self, keys: FlowKeys, build: VertexBuild, owner: str, *, max_builds: int, per_vertex: int
    ) -> bool:
        at = to_us(build.timestamp)
        fields = dict(build.model_copy(update={"timestamp": from_us(at)}))
        origin = fields.pop("origin", None)
        body = encode_json(fields)
        body = _sized(body if origin is None else body + b"\n" + encode_json({"origin": origin}))
        vertex = limits.vertex_id(build.id)
        job = b"" if build.job_id is None else limits.job_id(build.job_id).encode()
        attempt = self._calls.begin()
        return await self._registered(
            keys,
            owner,
            attempt,
            lambda registered: self._scripts.put_build(
                keys,
                vertex,
                at,
                body,
                job=job,
                max_builds=max_builds,
                per_vertex=per_vertex,
                owner=owner,
                registered=registered,
                attempt=attempt,
            ),
        )

    async def builds_json(self, keys: FlowKeys) -> list[tuple[str, bytes]]:
        """(vertex, JSON object) of each build, oldest first."""
        return [(vertex, body.partition(b"\n")[0]) for vertex, body in await self.build_bodies(keys)]

    async def build_bodies(self, keys: FlowKeys) -> list[tuple[str, bytes]]:
        """(vertex, body) of each build, oldest first."""
        (reply,) = await self._calls.read(lambda: self._transport.run(keys.builds, ("HGETALL", keys.builds)))
        fields = reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))
        builds = []
        for name, value in fields.items():
            if name[:1] != b"t":
                continue
            body = fields.get(b"b" + name[1:])
            if body is None or not value.isdigit() or body[:1] != b"{":
                self._reader.report_corrupt(keys.builds, name, "layout")
                continue
            builds.append((int(value), name[1:], body))
        return [(vertex.decode(), body) for _, vertex, body in sorted(builds)]

    async def builds(self, keys: FlowKeys) -> list[VertexBuild]:
        """The builds, oldest first."""
        builds = []
        for vertex, body in await self.builds_json(keys):
            try:
                builds.append(VertexBuild.model_validate_json(body))
            except ValidationError:
                self._reader.report_corrupt(keys.builds, vertex.encode(), "ValidationError")
        return builds

    async def delete_builds(self, keys: FlowKeys) -> int:
        """Remove all builds; how many vertices had some."""
        removed = await self._scripts.delete_builds(keys, attempt=self._calls.begin())
        if removed.emptied is not None:
            await self._registry.remove(keys, removed.emptied)
        return removed.count

    async def add_transaction(
        self, keys: FlowKeys, transaction: Transaction, owner: str, max_transactions: int | None
    ) -> None:
        at = to_us(transaction.timestamp)
        fields = dict(transaction.model_copy(update={"timestamp": from_us(at)}))
        fields["id"] = canonical(transaction.id)
        del fields["flow_id"]
        shown = {name: fields.pop(name) for name in _SHOWN}
        body = _sized(encode_json(shown) + b"\n" + encode_json(fields))
        attempt = self._calls.begin()
        await self._registered(
            keys,
            owner,
            attempt,
            lambda registered: self._scripts.add_transaction(
                keys,
                UUID(shown["id"]).bytes,
                at,
                body,
                max_transactions=max_transactions,
                owner=owner,
                registered=registered,
                attempt=attempt,
            ),
        )

    async def transactions_json(self, keys: FlowKeys, limit: int, offset: int) -> tuple[list[bytes], int]:
        """A page of JSON objects, newest first, and how many transactions there are."""
        found, total = await self._newest(keys, limit, offset)
        return [run.body.partition(b"\n")[0] for run in found], total

    async def transactions(self, keys: FlowKeys, limit: int, offset: int) -> list[Transaction]:
        """A page, newest first."""
        found, _ = await self._newest(keys, limit, offset)
        return [transaction for _, transaction in self._decoded(keys, found)]

    async def placed_transactions(self, keys: FlowKeys) -> list[tuple[EntryId, Transaction]]:
        """All, newest first, each with its place in the stream."""
        found, _ = await self._newest(keys, _ALL, 0)
        return list(self._decoded(keys, found))

    def _decoded(self, keys: FlowKeys, found: Sequence[_Run]) -> Iterator[tuple[EntryId, Transaction]]:
        for run in found:
            shown, _, rest = run.body.partition(b"\n")
            try:
                fields = {**from_json(shown), **from_json(rest), "flow_id": keys.flow_id}
                fields.pop("origin", None)
                yield run.place, Transaction.model_validate(fields)
            except ValueError as error:
                self._reader.report_corrupt(keys.transactions, str(run.place).encode(), type(error).__name__)

    async def transaction_bodies(self, keys: FlowKeys) -> list[bytes]:
        """The bodies of all transactions, newest first."""
        return [run.body for run in (await self._newest(keys, _ALL, 0))[0]]

    async def _newest(self, keys: FlowKeys, limit: int, offset: int) -> tuple[list[_Run], int]:
        """As :meth:`Reader.newest`: exact also when workers' clocks differ."""
        wanted = limit + offset
        found: list[_Run] = []
        upper = b"+"
        while True:
            total, raw = await self._calls.read(
                lambda upper=upper: self._transport.run(  # type: ignore[misc]
                    keys.transactions,
                    ("XLEN", keys.transactions),
                    ("XREVRANGE", keys.transactions, upper, "-", "COUNT", _CHUNK),
                )
            )
            found += self._parse(keys, raw)
            found.sort(reverse=True)
            last = EntryId.parse(raw[-1][0]) if raw else EntryId(0, 0)
            exhausted = len(raw) < _CHUNK
            if exhausted or (len(found) >= wanted and found[wanted - 1].at >= last.us):
                return found[offset:wanted], int(total)
            upper = b"(%b" % raw[-1][0]

    def _parse(self, keys: FlowKeys, raw: Sequence[Any]) -> list[_Run]:
        found = []
        for entry_id, fields in raw:
            values = dict(zip(fields[::2], fields[1::2], strict=True))
            place = EntryId.parse(entry_id)
            at, body = values.get(b"t", b"%d" % place.us), values.get(b"b", b"")
            if body[:1] != b"{" or not at.isdigit():
                self._reader.report_corrupt(keys.transactions, entry_id, "layout")
                continue
            found.append(_Run(int(at), place, body))
        return found

    async def _registered(
        self, keys: FlowKeys, owner: str, attempt: Attempt, write: Callable[[bool], Awaitable[T]]
    ) -> T:
        """Do a write; before a flow's first one, enter the flow in the registry."""
        registered = False
        while True:
            try:
                result = await write(registered)
            except StaleError:
                attempt.check_contention("the flow")
                await self._registry.add(keys.flow_id, owner, attempt)
                registered = True
                continue
            if registered:
                await self._registry.confirm(keys.flow_id, owner)
            return result


def _sized(body: bytes) -> bytes:
    if len(body) > MAX_BYTES:
        msg = f"a build or transaction of {len(body):,} bytes; {MAX_BYTES:,} is the limit"
        raise TooLargeError(msg)
    return body
