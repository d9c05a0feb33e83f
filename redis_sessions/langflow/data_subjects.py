"""People's data: erased, exported, searched and counted in Redis as in Langflow's database.

Langflow's own steps run first, for what its database still has from before. A request whose step cannot reach
Redis fails, is recorded as failed and tried again by Langflow: nothing is reported as done that was not.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections import Counter
from typing import TYPE_CHECKING, Any

from redis_sessions.langflow import deletions, memory_base, runtime, seams, walk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
    from uuid import UUID

    from langflow.services.data_subjects.context import EraseContext
    from langflow.services.data_subjects.identity import EndUserKeys
    from langflow.services.data_subjects.schemas import DryRunSummary, EndUserMatch
    from langflow.services.database.models.user.model import User
    from sqlmodel.ext.asyncio.session import AsyncSession

    from redis_sessions import models
    from redis_sessions.store import SessionStore

    Step = Callable[[AsyncSession, EraseContext], Awaitable[int]]
    Steps = tuple[tuple[str, Step], ...]

_ALL = 2**53


def install() -> None:
    """Make Langflow's handling of people's data see Redis. May be repeated.

    Raises:
        SeamError: this Langflow's functions or steps are not those of 1.13.
    """
    from langflow.services.data_subjects import (
        builder_account_steps,
        dry_run,
        end_user_search,
        end_user_steps,
        engine,
        export,
    )

    for_end_users: dict[str, Step] = {
        "vertex_builds": erase_vertex_builds,
        "messages": erase_messages,
        "transactions": erase_transactions,
    }
    for_builders: dict[str, Step] = {
        "flows": _settle_flows,
        "messages_elsewhere": erase_messages_elsewhere,
        "transactions_elsewhere": erase_transactions_elsewhere,
    }
    elsewhere = {name: step for name, step in for_builders.items() if name != "flows"}
    for module, name, ours in (
        (end_user_steps, "END_USER_STEPS", for_end_users),
        (builder_account_steps, "BUILDER_ACCOUNT_STEPS", elsewhere),
        (engine, "BUILDER_STEPS", for_builders),
    ):
        seams.replace(module, name, _both(seams.stock(module, name), ours))
    seams.replace(dry_run, "builder_dry_run", builder_dry_run)
    seams.replace(dry_run, "end_user_dry_run", end_user_dry_run)
    seams.replace(end_user_search, "search_end_users", search_end_users)
    seams.replace(export, "export_end_user", export_end_user)


def _both(steps: Steps, ours: dict[str, Step]) -> Steps:
    """Langflow's steps; those that we have something to add to go on with ours when they are through."""
    missing = set(ours) - {name for name, _ in steps}
    if missing:
        msg = f"this Langflow does not erase by steps for {', '.join(sorted(missing))}"
        raise seams.SeamError(msg)

    def combined(theirs: Step, mine: Step) -> Step:
        async def step(session: AsyncSession, ctx: EraseContext) -> int:
            return await theirs(session, ctx) or await mine(session, ctx)

        return step

    return tuple((name, combined(step, ours[name]) if name in ours else step) for name, step in steps)


async def erase_messages(_: AsyncSession, ctx: EraseContext) -> int:
    """An end user's messages: those stored for them in sessions under their prefix."""
    keys = _keys(ctx)
    store = await runtime.store()
    async for flow, session in _end_user_sessions(store, keys, ctx.scope_flow_ids):
        if count := await _delete_messages(store, flow, session, keys.message_owner_id):
            return count
    return 0


async def erase_transactions(_: AsyncSession, ctx: EraseContext) -> int:
    """Component runs of an end user's sessions."""
    keys = _keys(ctx)
    return await _delete_transactions(ctx.scope_flow_ids, lambda one: _is_of(keys, one))


async def erase_vertex_builds(session: AsyncSession, ctx: EraseContext) -> int:
    """What an end user's jobs built."""
    from langflow.services.database.models.jobs.model import Job
    from sqlmodel import col, select

    statement = select(Job.flow_id, Job.job_id).where(
        col(Job.job_metadata)["end_user_id"].as_string() == _keys(ctx).raw_id
    )
    if ctx.scope_flow_ids:
        statement = statement.where(col(Job.flow_id).in_(ctx.scope_flow_ids))
    jobs: dict[str, list[str]] = {}
    for flow, job in (await session.exec(statement)).all():
        jobs.setdefault(str(flow), []).append(str(job))
    store = await runtime.store()
    return sum([await store.delete_job_builds(flow, ids) for flow, ids in jobs.items()])


async def erase_messages_elsewhere(_: AsyncSession, ctx: EraseContext) -> int:
    """A builder's own messages in flows of others."""
    store = await runtime.store()
    for flow in await store.flows():
        for session in await walk.sessions(store, flow):
            if count := await _delete_messages(store, flow, session, ctx.subject_user_id):
                return count
    return 0


async def erase_transactions_elsewhere(_: AsyncSession, ctx: EraseContext) -> int:
    """Component runs of a builder in flows of others."""
    subject = str(ctx.subject_user_id)
    return await _delete_transactions((), lambda one: one.user_id == subject)


async def _settle_flows(_: AsyncSession, __: EraseContext) -> int:
    """The builder's flows are gone from the database: now also from Redis, before the next step."""
    await deletions.settle_gone()
    return 0


async def builder_dry_run(session: AsyncSession, user: User) -> DryRunSummary:
    """What erasing an account would remove, with its messages in Redis."""
    from langflow.services.data_subjects import dry_run
    from langflow.services.database.models.flow.model import Flow
    from langflow.services.database.models.message.model import MessageTable
    from sqlmodel import col, select

    summary: DryRunSummary = await seams.stock(dry_run, "builder_dry_run")(session, user)
    owned = {str(flow) for flow in await session.exec(select(Flow.id).where(Flow.user_id == user.id))}
    store = await runtime.store()
    count = 0
    for flow in await store.flows():
        for name in await walk.sessions(store, flow):
            if flow in owned:
                count += await store.length(flow, name)
            else:
                count += await _count(store, flow, name, user.id)
    theirs = MessageTable.user_id == user.id
    theirs |= col(MessageTable.flow_id).in_(select(Flow.id).where(Flow.user_id == user.id))
    summary.counts["messages"] += count - await memory_base.count_stand_ins(session, theirs)
    return summary


async def end_user_dry_run(
    session: AsyncSession, keys: EndUserKeys, scope: tuple[UUID, ...]
) -> DryRunSummary:
    """What erasing an end user would remove, with their messages and component runs in Redis."""
    from langflow.services.data_subjects import dry_run
    from langflow.services.database.models.message.model import MessageTable
    from sqlmodel import col, select

    summary: DryRunSummary = await seams.stock(dry_run, "end_user_dry_run")(session, keys, scope)
    where = [
        MessageTable.user_id == keys.message_owner_id,
        col(MessageTable.session_id).like(keys.session_like_pattern, escape="\\"),
    ]
    if scope:
        where.append(col(MessageTable.flow_id).in_(scope))
    in_database = select(MessageTable.flow_id).where(*where, MessageTable.category != memory_base.STAND_IN)
    flows = {str(flow) for flow in await session.exec(in_database.distinct())}
    summary.counts["messages"] -= await memory_base.count_stand_ins(session, *where)
    store = await runtime.store()
    async for flow, name in _end_user_sessions(store, keys, scope):
        if count := await _count(store, flow, name, keys.message_owner_id):
            flows.add(flow)
            summary.counts["messages"] += count
    summary.counts["flows"] = len(flows)
    async for one in _transactions(store, scope):
        summary.counts["transactions"] += _is_of(keys, one)
    return summary


async def search_end_users(session: AsyncSession, term: str, limit: int) -> list[EndUserMatch]:
    """End-user ids that contain ``term``, with how many messages each has."""
    from langflow.services.data_subjects import end_user_search as stock
    from langflow.services.data_subjects.identity import ANONYMOUS_PREFIX, SCOPE_SEPARATOR
    from langflow.services.data_subjects.schemas import EndUserMatch
    from langflow.services.database.models.message.model import MessageTable
    from sqlmodel import col

    found = await seams.stock(stock, "search_end_users")(session, term, _ALL)
    messages = Counter({match.end_user_id: match.messages for match in found})
    for person in messages:
        theirs = col(MessageTable.session_id).startswith(f"{person}{SCOPE_SEPARATOR}", autoescape=True)
        messages[person] -= await memory_base.count_stand_ins(session, theirs)
    needle = term.strip().casefold()
    store = await runtime.store()
    for flow in await store.flows():
        for name in await walk.sessions(store, flow):
            person, separator, _ = name.partition(SCOPE_SEPARATOR)
            if separator and person and person != ANONYMOUS_PREFIX and needle in person.casefold():
                messages[person] += await store.length(flow, name)
    return [
        EndUserMatch(end_user_id=person, messages=messages[person]) for person in sorted(messages)[:limit]
    ]


async def export_end_user(
    session: AsyncSession, keys: EndUserKeys, scope: tuple[UUID, ...], actor_id: UUID | None
) -> tempfile.SpooledTemporaryFile[bytes]:
    """Langflow's archive of an end user, with their messages and component runs in Redis."""
    from langflow.services.data_subjects import export as stock

    archive = await seams.stock(stock, "export_end_user")(session, keys, scope, actor_id)
    store = await runtime.store()
    messages = [
        _exported(message, ("sender", "text", "session_id", "flow_id", "files"))
        async for flow, name in _end_user_sessions(store, keys, scope)
        async for page in walk.pages(store, flow, name, user_id=keys.message_owner_id)
        for message in page
    ]
    names = ("flow_id", "vertex_id", "session_id", "status", "inputs", "outputs", "error")
    runs = [_exported(one, names) async for one in _transactions(store, scope) if _is_of(keys, one)]
    return _merged(archive, {"messages.json": messages, "transactions.json": runs}, stock.SPOOL_MAX_BYTES)


def _merged(
    archive: Any, added: dict[str, list[dict[str, Any]]], spool: int
) -> tempfile.SpooledTemporaryFile[bytes]:
    """The archive with rows added to its lists, in the order of their times."""
    merged: tempfile.SpooledTemporaryFile[bytes] = tempfile.SpooledTemporaryFile(spool)  # noqa: SIM115
    with (
        archive,
        zipfile.ZipFile(archive) as old,
        zipfile.ZipFile(merged, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        manifest = json.loads(old.read("manifest.json"))
        for member, rows in added.items():
            rows += [row for row in json.loads(old.read(member)) if row.get("sender") != ""]  # no stand-ins
            rows.sort(key=lambda row: str(row["timestamp"]))
            manifest["contents"][member] = len(rows)
            new.writestr(member, _json(rows))
        for member in old.namelist():
            if member not in added and member != "manifest.json":
                new.writestr(member, old.read(member))
        new.writestr("manifest.json", _json(manifest))
    merged.seek(0)
    return merged


def _json(value: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=False, indent=2)


def _exported(row: Any, names: Iterable[str]) -> dict[str, Any]:
    return {"timestamp": str(row.timestamp)} | {name: getattr(row, name) for name in names}


def _keys(ctx: EraseContext) -> EndUserKeys:
    if ctx.end_user is None:
        msg = "an end user's step without an end user"
        raise RuntimeError(msg)
    return ctx.end_user


async def _end_user_sessions(
    store: SessionStore, keys: EndUserKeys, scope: Iterable[UUID]
) -> AsyncIterator[tuple[str, str]]:
    """(flow, session) under an end user's prefix, in whichever case it was sent."""
    prefix = keys.session_prefix.casefold()
    for flow in await walk.flows(store, scope):
        for session in await walk.sessions(store, flow):
            if session.casefold().startswith(prefix):
                yield flow, session


def _is_of(keys: EndUserKeys, one: models.Transaction) -> bool:
    """Runs carry their owner and session; without them, a chat component's own input tells."""
    session: Any = one.session_id
    if one.user_id is None:
        session = (one.inputs or {}).get("session_id")
    elif one.user_id != str(keys.message_owner_id):
        return False
    return isinstance(session, str) and session.casefold().startswith(keys.session_prefix.casefold())


async def _transactions(store: SessionStore, scope: Iterable[UUID]) -> AsyncIterator[models.Transaction]:
    for flow in await walk.flows(store, scope):
        for one in await store.transactions(flow, limit=_ALL):
            yield one


async def _delete_transactions(scope: Iterable[UUID], chosen: Callable[[models.Transaction], bool]) -> int:
    store = await runtime.store()
    return sum([await store.delete_transactions(flow, chosen) for flow in await walk.flows(store, scope)])


async def _delete_messages(store: SessionStore, flow: str, session: str, user_id: UUID) -> int:
    count = 0
    async for page in walk.pages(store, flow, session, user_id=user_id):
        count += len(await store.delete_messages([message.id for message in page], flow_id=flow))
    return count


async def _count(store: SessionStore, flow: str, session: str, user_id: UUID) -> int:
    return sum([len(page) async for page in walk.pages(store, flow, session, user_id=user_id)])
