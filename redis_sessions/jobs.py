"""The builds of jobs, and what is removed of builds and transactions one by one.

The latest build of a vertex is the matter of ``runs.py``. The one it takes the place of stays in a hash of
its own, where it is found by its job (``lua/shared/builds.lua``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from redis_sessions.flow_scripts import MAX_ENTRIES
from redis_sessions.models import VertexBuild

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redis_sessions.calls import Calls
    from redis_sessions.keys import FlowKeys
    from redis_sessions.models import Transaction
    from redis_sessions.reader import Reader
    from redis_sessions.registry import Registry
    from redis_sessions.runs import Runs
    from redis_sessions.scripting import Removed
    from redis_sessions.scripts import Scripts
    from redis_sessions.transport import Command, Transport

_CHUNK = 200
_PAGE = 1_000


class Jobs:
    """Builds by their job, and deletions within a flow's builds and transactions."""

    def __init__(
        self,
        calls: Calls,
        transport: Transport,
        scripts: Scripts,
        registry: Registry,
        reader: Reader,
        runs: Runs,
    ) -> None:
        self._calls = calls
        self._transport = transport
        self._scripts = scripts
        self._registry = registry
        self._reader = reader
        self._runs = runs

    async def builds(self, keys: FlowKeys, job: str) -> list[VertexBuild]:
        """A job's latest build of each vertex, oldest first."""
        found, others = [], []
        for build in await self._runs.builds(keys):
            if build.job_id == job:
                found.append(build)
            else:
                others.append(build.id)
        name = job.encode()
        prefix = b"b%d:%b" % (len(name), name)
        for first in range(0, len(others), _CHUNK):
            fields = [prefix + vertex.encode() for vertex in others[first : first + _CHUNK]]
            (bodies,) = await self._calls.read(
                lambda fields=fields: self._transport.run(keys.jobs, ("HMGET", keys.jobs, *fields))  # type: ignore[misc]
            )
            for field, body in zip(fields, bodies, strict=True):
                if body is None:
                    continue
                try:
                    found.append(VertexBuild.model_validate_json(body.partition(b"\n")[0]))
                except ValidationError:
                    self._reader.report_corrupt(keys.jobs, field, "ValidationError")
        return sorted(found, key=lambda build: build.timestamp)

    async def bodies(self, keys: FlowKeys) -> list[bytes]:
        """The bodies of all builds before the latest ones."""
        (reply,) = await self._calls.read(lambda: self._transport.run(keys.jobs, ("HGETALL", keys.jobs)))
        fields = reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))
        return [body for name, body in fields.items() if name[:1] == b"b"]

    async def delete(self, keys: FlowKeys, jobs: Sequence[str]) -> int:
        """Remove the builds of jobs; how many there were."""
        count = 0
        for first in range(0, len(jobs), MAX_ENTRIES):
            names = [job.encode() for job in jobs[first : first + MAX_ENTRIES]]
            count += await self._removed(
                keys, await self._scripts.delete_job_builds(keys, names, attempt=self._calls.begin())
            )
        return count

    async def trim(self, flows: Sequence[FlowKeys], most: int) -> int:
        """Remove all builds of the flows that have built nothing for longest; how many vertices had some."""
        built: list[tuple[int, int, FlowKeys]] = []
        for first in range(0, len(flows), _PAGE):
            page = flows[first : first + _PAGE]
            commands: list[tuple[bytes, Command]] = []
            for keys in page:
                commands += [
                    (keys.builds, ("HLEN", keys.builds)),
                    (keys.jobs, ("HMGET", keys.jobs, "u", "n")),
                ]
            replies = await self._calls.read(lambda commands=commands: self._transport.scatter(commands))  # type: ignore[misc]
            built += [
                (int(at or 0), fields // 2 + int(before or 0), keys)
                for keys, fields, (at, before) in zip(page, replies[::2], replies[1::2], strict=True)
                if fields
            ]
        built.sort(key=lambda one: one[0], reverse=True)
        kept = gone = 0
        for place, (_, builds, keys) in enumerate(built):
            kept += builds
            if place and kept > most:
                gone += await self._runs.delete_builds(keys)
        return gone

    async def delete_transactions(self, keys: FlowKeys, chosen: Callable[[Transaction], bool]) -> int:
        """Remove the transactions that are chosen; how many there were."""
        places = [place for place, one in await self._runs.placed_transactions(keys) if chosen(one)]
        count = 0
        for first in range(0, len(places), MAX_ENTRIES):
            some = places[first : first + MAX_ENTRIES]
            count += await self._removed(
                keys, await self._scripts.delete_transactions(keys, some, attempt=self._calls.begin())
            )
        return count

    async def _removed(self, keys: FlowKeys, removed: Removed) -> int:
        if removed.emptied is not None:
            await self._registry.remove(keys, removed.emptied)
        return removed.count
