"""What is somebody else's is refused exactly as if it did not exist: the answer, and the way to it.

Each endpoint is asked for the flow, session, message, cursor and state of another owner, and for such as
nobody has. Status, headers and body are the same, Redis is asked the same (its slow log notes every command,
names apart), and nothing changes. An endpoint without a probe here fails a test.
"""

from __future__ import annotations

import contextlib
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from redis_sessions import FeedGapError, MessageUpdate, OwnerMismatchError, SessionStore
from redis_sessions.ids import EntryId, draw_number, to_cursor, to_message_id
from redis_sessions.models import Transaction, VertexBuild
from redis_sessions.monitor import KeyAccess, LangflowAccess, Principal, monitor_app, new_key
from redis_sessions.monitor.access import virtual_flow_id
from redis_sessions.monitor.app import PREFIX, ExactRoute
from tests.support import valkey_server
from tests.support.secrets import remember
from tests.support.talk import nothing_changes

from .conftest import HOST
from .test_live import reading, served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from starlette.requests import Request

    from redis_sessions.monitor import Access
    from tests.support import Server

ANN, BOB = (str(uuid.UUID(int=number, version=4)) for number in (1, 2))
SESSION = "refund 4711"
_OF_CONNECTIONS = ("SLOWLOG", "CLIENT", "HELLO", "SELECT", "AUTH")


@dataclass(frozen=True)
class Target:
    """What is asked for. ``source`` is a public flow that its owner has talked to."""

    flow: str
    source: str
    session: str
    message: str
    adopted: str
    cursor: str
    etag: str
    event: str

    def plain(self, text: str) -> str:
        """A text without its names."""
        for name in vars(self):
            text = text.replace(getattr(self, name), f"<{name}>")
        return text


def probe(target: Target) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """What each endpoint is asked; ``path`` fills the path's parameter."""
    flow, source = {"flow_id": target.flow}, {"source_flow_id": target.source}
    named = {"session_id": target.session}
    change = {"text": "changed by a stranger"}
    ids = (target.message, target.adopted)
    return {
        ("GET", "/builds"): [{"params": flow}],
        ("DELETE", "/builds"): [{"params": flow}],
        ("GET", "/transactions"): [{"params": flow}, {"params": {**flow, "page": 2}}],
        ("GET", "/messages/sessions"): [{"params": flow}],
        ("GET", "/messages/stream"): [
            {"params": flow},
            {"params": flow | named},
            {"params": flow, "headers": {"last-event-id": target.event}},
            {"params": flow, "headers": {"last-event-id": "1-1"}},
        ],
        ("GET", "/messages/export"): [{"params": flow}, {"params": flow | named}],
        ("GET", "/messages"): [
            {"params": flow},
            {"params": flow | named},
            {"params": flow | named | {"before": target.cursor}},
            {"params": flow, "headers": {"if-none-match": target.etag}},
            {"params": flow | {"order_by": "nothing"}},
            {"params": named},
            {"params": {"end_user_id": ANN}},
        ],
        ("DELETE", "/messages"): [{"json": [one]} for one in ids] + [{"json": list(ids)}],
        ("PUT", "/messages/{message_id}"): [{"path": one, "json": change} for one in ids],
        ("PATCH", "/messages/session/{old_session_id}"): [
            {"path": target.session, "params": {"new_session_id": "mine"}}
        ],
        ("DELETE", "/messages/session/{session_id}"): [{"path": target.session}],
        ("DELETE", "/messages/sessions"): [{"json": [target.session]}],
        ("GET", "/messages/shared/sessions"): [{"params": source}],
        ("GET", "/messages/shared"): [{"params": source}, {"params": source | named}],
        ("DELETE", "/messages/shared/session/{session_id}"): [{"path": target.session, "params": source}],
        ("PUT", "/messages/shared/{message_id}"): [
            {"path": one, "params": source, "json": change} for one in ids
        ],
        ("PATCH", "/messages/shared/session/{old_session_id}"): [
            {"path": target.session, "params": source | {"new_session_id": "mine"}}
        ],
        ("GET", "/flows"): [{}],
        ("GET", "/page/sessions"): [{"params": flow}, {"params": flow | named}],
        ("PATCH", "/page/session"): [
            {"params": flow | named, "json": {"new_session_id": "mine", "merge": merge}}
            for merge in (False, True)
        ],
        ("DELETE", "/page/session"): [{"params": flow | named}],
    }


def made_up() -> Target:
    """What nobody has. The ids are as ours are: of a flow id that is known, for a session that is not."""
    flow = str(uuid.uuid4())
    place = EntryId(1_800_000_000_000_000, draw_number(flow))
    return Target(
        flow=flow,
        source=str(uuid.uuid4()),
        session=f"session {uuid.uuid4()}",
        message=to_message_id(*place),
        adopted=str(uuid.uuid4()),
        cursor=to_cursor(place.us, place),
        etag=f'W/"{uuid.uuid4().hex}"',
        event=f"{uuid.uuid4().int % 10**13}-0",
    )


ENDPOINTS = [pytest.param(*endpoint, id=" ".join(endpoint)) for endpoint in probe(made_up())]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with valkey_server(slowlog_log_slower_than=0, slowlog_max_len=10_000) as server:
        yield server


@pytest.fixture
async def store(server: Server) -> AsyncIterator[SessionStore]:
    async with SessionStore.from_url(server.url, prefix=f"i{uuid.uuid4().hex[:8]}") as store:
        yield store
    server.client().flushall()


async def say(store: SessionStore, flow: str, owner: str, session: str = SESSION, **fields: Any) -> Any:
    return await store.append(
        flow, text="hello", sender="User", sender_name="Ann", session_id=session, owner=owner, **fields
    )


@pytest.fixture
async def anns(store: SessionStore) -> Target:
    return await fill_for_ann(store)


async def fill_for_ann(store: SessionStore) -> Target:
    """What Ann has."""
    flow, source = str(uuid.uuid4()), str(uuid.uuid4())
    message = await say(store, flow, ANN)
    adopted = await say(store, flow, ANN, id=uuid.uuid4(), user_id=ANN)
    await say(store, virtual_flow_id(Principal(ANN), uuid.UUID(source)), ANN)
    await store.put_build(VertexBuild(id="v", valid=True, flow_id=flow))
    await store.add_transaction(Transaction(vertex_id="v", status="success", flow_id=flow))
    (key, hashed), params = new_key(), {"flow_id": flow}
    async with client_of(store, KeyAccess(store, {hashed: ANN}), key) as client:
        etag = (await client.get(f"{PREFIX}/messages", params=params)).headers["etag"]
        shown = (await client.get(f"{PREFIX}/messages", params=params)).json()
    assert {one["id"] for one in shown} == {message.id, adopted.id}
    event = await last_event(store, flow)
    return Target(flow, source, SESSION, message.id, adopted.id, adopted.cursor, etag, event)


async def last_event(store: SessionStore, flow: str) -> str:
    raw: Any = store.connection.client
    newest = await raw.xrevrange(store._parts.keys.flow(flow).feed, count=1)
    return str(newest[0][0].decode())


@contextlib.asynccontextmanager
async def client_of(store: SessionStore, access: Access, key: str) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(monitor_app(store, access=access))
    async with httpx.AsyncClient(transport=transport, base_url=HOST, headers={"x-api-key": key}) as client:
        yield client


async def whoami(_: Request) -> JSONResponse:
    return JSONResponse({"id": BOB})


@pytest.fixture(params=["keys", "langflow"])
async def bob(request: pytest.FixtureRequest, store: SessionStore) -> AsyncIterator[httpx.AsyncClient]:
    key, hashed = new_key()
    remember(key)
    async with contextlib.AsyncExitStack() as stack:
        access: Access = KeyAccess(store, {hashed: BOB})
        if request.param == "langflow":
            app = Starlette(routes=[Route("/api/v1/users/whoami", whoami)])
            upstream = httpx.AsyncClient(transport=httpx.ASGITransport(app))
            access = LangflowAccess(
                store, "http://langflow", client=await stack.enter_async_context(upstream)
            )
            stack.push_async_callback(access.aclose)
        yield await stack.enter_async_context(client_of(store, access, key))


@dataclass(frozen=True)
class Seen:
    """An answer, and what Redis was asked for it; without the names of what was asked for."""

    status: int
    headers: list[tuple[str, str]]
    body: str
    commands: list[str]


async def ask(
    client: httpx.AsyncClient, server: Server, target: Target, method: str, path: str, n: int
) -> Seen:
    request = dict(probe(target)[method, path][n])
    filled = path[: path.index("{")] + request.pop("path") if "{" in path else path
    server.client().slowlog_reset()
    answer = await client.request(method, PREFIX + filled, **request)
    log = server.client().slowlog_get(10_000)
    commands = [bytes(one["command"]).decode(errors="backslashreplace") for one in log]
    return Seen(
        answer.status_code,
        sorted((name, target.plain(value)) for name, value in answer.headers.items()),
        target.plain(answer.text),
        # Sorted: over several connections, which is first is chance.
        sorted(plain_command(target, one) for one in commands if not one.startswith(_OF_CONNECTIONS)),
    )


def plain_command(target: Target, command: str) -> str:
    """A command without names; an adopted id is asked for by its bytes, and a session by its number."""
    for name in ("message", "adopted"):
        raw = uuid.UUID(getattr(target, name)).bytes.decode(errors="backslashreplace")
        command = command.replace(raw, f"<{name}>")
    number = to_number(target.message)
    virtual = virtual_flow_id(Principal(BOB), uuid.UUID(target.source))
    return target.plain(command).replace(f"n{number}", "<number>").replace(virtual, "<virtual>")


def to_number(message_id: str) -> int:
    from redis_sessions.ids import address_of

    address = address_of(message_id)
    assert address is not None
    return address.number


def test_every_endpoint_has_a_probe(store: SessionStore) -> None:
    app: Any = monitor_app(store)
    routes = [route for route in app.routes if isinstance(route, ExactRoute)]
    served = {(method, route.path) for route in routes for method in route.methods or ()}
    asked = {(method, PREFIX + path) for method, path in probe(made_up())}
    open_to_all = {("GET", path) for path in ("/health", "/ready", "/metrics", "/openapi.json")}
    assert served == asked | open_to_all


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
async def test_what_is_anothers_is_refused_as_if_it_did_not_exist(
    method: str, path: str, store: SessionStore, server: Server, anns: Target, bob: httpx.AsyncClient
) -> None:
    """To somebody without a flow, with one, and with three; also a conversation with a public flow."""
    requests = range(len(probe(anns)[method, path]))
    virtual = virtual_flow_id(Principal(ANN), uuid.UUID(anns.source))
    theirs = replace(anns, flow=virtual, message=(await store.history(virtual, SESSION))[0].id)
    none = replace(made_up(), flow=virtual_flow_id(Principal(ANN), uuid.uuid4()))
    await ask(bob, server, made_up(), method, path, 0)  # who asks is known from now on
    for more in (0, 1, 2):
        for _ in range(more):
            await say(store, str(uuid.uuid4()), BOB, "of Bob")
        async with nothing_changes(store):
            for place in requests:
                for anothers, nobodys in ((anns, made_up()), (theirs, none)):
                    assert await ask(bob, server, anothers, method, path, place) == await ask(
                        bob, server, nobodys, method, path, place
                    )


async def test_the_probes_find_what_they_ask_for_when_its_owner_asks(
    store: SessionStore, server: Server, anns: Target
) -> None:
    """Otherwise the tests above would compare mistakes."""
    key, hashed = new_key()
    same = []
    async with client_of(store, KeyAccess(store, {hashed: ANN}), key) as ann:
        for (method, path), requests in probe(anns).items():
            for place in range(len(requests)):
                if path in ("/messages/stream", "/flows") or method == "DELETE":
                    continue  # endless; asks for nothing; spares what others ask for
                mine = await ask(ann, server, anns, method, path, place)
                nobodys = await ask(ann, server, made_up(), method, path, place)
                if (mine.status, mine.body) == (nobodys.status, nobodys.body):
                    same.append((method, path, place))
                for flow in (anns.flow, virtual_flow_id(Principal(ANN), uuid.UUID(anns.source))):
                    with contextlib.suppress(Exception):
                        await store.rename_session(flow, "mine", SESSION)
    # The conversation with a public flow has other messages.
    assert same == [
        ("PUT", "/messages/shared/{message_id}", 0),
        ("PUT", "/messages/shared/{message_id}", 1),
    ]


async def test_ids_made_up_from_a_known_flow_find_nothing(
    store: SessionStore, anns: Target, bob: httpx.AsyncClient
) -> None:
    """Who knows a flow's id knows 16 bits of its messages' ids, and perhaps when they were said."""
    await say(store, str(uuid.uuid4()), BOB, "of Bob")
    flow_known = [to_message_id(1_764_000_000_000_000 + us, draw_number(anns.flow)) for us in range(50)]
    for message_id in [anns.message, *flow_known]:
        answer = await bob.put(f"{PREFIX}/messages/{message_id}", json={"text": "changed"})
        assert (answer.status_code, answer.json()) == (404, {"detail": "Message not found"})
    assert (await bob.request("DELETE", f"{PREFIX}/messages", json=[anns.message, *flow_known])).text == ""
    assert len(await store.history(anns.flow, SESSION)) == 2


ACTS: dict[str, Callable[[SessionStore, Target, list[str]], Any]] = {
    "get": lambda store, it, mine: store.get(it.message, flows=mine),
    "get_many": lambda store, it, mine: store.get_many([it.message, it.adopted], flows=mine),
    "delete_messages": lambda store, it, mine: store.delete_messages([it.message, it.adopted], flows=mine),
    "find_sessions": lambda store, it, mine: store.find_sessions([it.session], mine),
    "recent_json": lambda store, it, mine: store.recent_json(mine, session_id=it.session),
}


@pytest.mark.parametrize("name", sorted(ACTS))
async def test_a_store_that_is_told_which_flows_to_look_in_looks_nowhere_else(
    name: str, store: SessionStore, server: Server, anns: Target
) -> None:
    mine = [str(uuid.uuid4()) for _ in range(3)]
    for flow in mine:
        await say(store, flow, BOB, "of Bob")
    found = []
    async with nothing_changes(store):
        for target in (anns, made_up()):
            server.client().slowlog_reset()
            answer = await ACTS[name](store, target, mine)
            log = [
                bytes(one["command"]).decode(errors="backslashreplace")
                for one in server.client().slowlog_get(1_000)
            ]
            found.append((answer, [plain_command(target, one) for one in log]))
            assert not any(anns.flow in one for one in log)
    assert found[0] == found[1]
    assert not any(found[0][0] or ())


async def test_a_write_that_names_its_owner_changes_nothing_of_anothers(
    store: SessionStore, anns: Target
) -> None:
    async with nothing_changes(store):
        for act in (
            lambda: say(store, anns.flow, BOB),
            lambda: store.put_build(VertexBuild(id="v", valid=True, flow_id=anns.flow), owner=BOB),
            lambda: store.add_transaction(
                Transaction(vertex_id="v", status="success", flow_id=anns.flow), owner=BOB
            ),
        ):
            with pytest.raises(OwnerMismatchError):
                await act()
        with pytest.raises(LookupError):
            await store.update(anns.message, MessageUpdate(text="x"), flows=await store.flows(owner=BOB))
    assert anns.flow not in await store.flows(owner=BOB)


async def test_a_place_in_anothers_feed_is_no_place_in_ones_own(store: SessionStore, anns: Target) -> None:
    mine = str(uuid.uuid4())
    await say(store, mine, BOB)
    said = []
    for after in (anns.event, "1700000000000-0"):
        with pytest.raises(FeedGapError) as caught:
            await anext(store.watch(mine, after=after))
        said.append((str(caught.value), caught.value.resume_after))
    assert said[0] == said[1]


async def test_a_reader_that_comes_back_with_anothers_place_is_told_to_read_its_own_flow_afresh(
    store: SessionStore, anns: Target
) -> None:
    key, hashed = new_key()
    remember(key)
    mine = str(uuid.uuid4())
    await say(store, mine, BOB)
    place = await last_event(store, mine)
    heard = []
    async with served(store, KeyAccess(store, {hashed: BOB})) as url:
        for after in (anns.event, made_up().event):
            headers = {"x-api-key": key, "last-event-id": after}
            async with reading(url, flow_id=mine, headers=headers) as reader:
                heard.append(await anext(reader))

    assert heard == [("reset", place, {})] * 2


async def test_a_reader_that_comes_back_with_anothers_place_hears_of_its_own_flow_only(
    store: SessionStore, anns: Target
) -> None:
    key, hashed = new_key()
    remember(key)
    mine = str(uuid.uuid4())
    await say(store, mine, BOB)
    headers = {"x-api-key": key, "last-event-id": anns.event}
    async with (
        served(store, KeyAccess(store, {hashed: BOB})) as url,
        reading(url, flow_id=mine, headers=headers) as reader,
    ):
        await anext(reader)
        await say(store, anns.flow, ANN)
        message = await say(store, mine, BOB)
        kind, _, data = await anext(reader)

    assert (kind, data["flow_id"], data["message"]["id"]) == ("created", mine, message.id)
