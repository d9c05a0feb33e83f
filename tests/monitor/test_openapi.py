"""The description fits what is served."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis_sessions.monitor import monitor_app
from redis_sessions.monitor.app import ExactRoute

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from redis_sessions.store import SessionStore

UNDESCRIBED = {"/metrics", "/openapi.json"}


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


async def test_every_route_is_described_and_nothing_else(
    memory_store: SessionStore, client: httpx.AsyncClient
) -> None:
    answer = await client.get("/openapi.json")

    described = {
        (method.upper(), path) for path, methods in answer.json()["paths"].items() for method in methods
    }
    app: Any = monitor_app(memory_store)
    routes = [route for route in app.routes if isinstance(route, ExactRoute)]
    served = {(method, route.path) for route in routes for method in route.methods or ()}
    assert described == {pair for pair in served if pair[1] not in UNDESCRIBED}


async def test_references_lead_somewhere_and_path_parameters_are_described(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()

    assert document["openapi"].startswith("3.1")
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(references(document)) <= known
    ids = set()
    for path, methods in document["paths"].items():
        for operation in methods.values():
            ids.add(operation.get("operationId", path))
            named = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "path"}
            assert named == {part[1:-1] for part in path.split("/") if part.startswith("{")}
    assert len(ids) == sum(map(len, document["paths"].values()))


async def test_limits_of_parameters_are_those_that_are_checked(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()

    parameters = document["paths"]["/api/v1/monitor/messages"]["get"]["parameters"]
    limit = next(one for one in parameters if one["name"] == "limit")
    assert limit == {
        "name": "limit",
        "in": "query",
        "required": False,
        "schema": {"type": "integer", "minimum": 0},
    }
