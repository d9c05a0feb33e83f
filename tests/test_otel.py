from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator  # noqa: TC003 - pytest reads the annotations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv.attributes import db_attributes, error_attributes, server_attributes
from opentelemetry.semconv.metrics import db_metrics
from opentelemetry.trace import SpanKind, StatusCode

from redis_sessions import (
    SessionNotFoundError,
    SessionStore,
    StoreClosedError,
    StoreUnavailableError,
    blocking,
)
from redis_sessions.otel import calls_of, instrument
from tests.support import Server, valkey_server
from tests.support.talk import FLOW, keys_of, say, texts

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from tests.conftest import Backend, MakeStore

TEXT = "nobody else may read this"


class Observed:
    """What was told."""

    def __init__(self) -> None:
        self.spans = InMemorySpanExporter()
        self.tracer_provider = TracerProvider()
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self.spans))
        self.reader = InMemoryMetricReader()
        self.meter_provider = MeterProvider([self.reader])

    async def observe(self, store: SessionStore) -> None:
        await instrument(store, tracer_provider=self.tracer_provider, meter_provider=self.meter_provider)
        self.spans.clear()

    def of(self, name: str) -> ReadableSpan:
        [span] = [span for span in self.spans.get_finished_spans() if span.name == name]
        return span

    def metrics(self) -> dict[str, list[Any]]:
        found = self.reader.get_metrics_data()
        assert found is not None
        return {
            metric.name: list(metric.data.data_points)
            for resource in found.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


@pytest.fixture
def observed() -> Iterator[Observed]:
    observed = Observed()
    yield observed
    observed.tracer_provider.shutdown()
    observed.meter_provider.shutdown()


async def test_a_call_is_a_span_and_its_round_trips_are_below_it(
    store: SessionStore, backend: Backend, observed: Observed
) -> None:
    await say(store)
    await observed.observe(store)
    await say(store, TEXT)

    call, trip = observed.of("SessionStore.append"), observed.of("EVALSHA append_known")
    assert trip.parent is not None
    assert call.context is not None
    assert trip.parent.span_id == call.context.span_id
    assert (call.kind, trip.kind) == (SpanKind.INTERNAL, SpanKind.CLIENT)
    attributes = dict(trip.attributes or {})
    if isinstance(backend.server, Server):
        assert (attributes.pop("server.address"), attributes.pop("server.port")) == (
            "127.0.0.1",
            backend.server.port,
        )
    assert {name: value for name, value in attributes.items() if not name.startswith("server.")} == {
        "db.system.name": "redis",
        "db.namespace": "0",
        "db.operation.name": "EVALSHA",
        "db.stored_procedure.name": "append_known",
    }


async def test_a_pipeline_is_one_span(store: SessionStore, observed: Observed) -> None:
    await say(store)
    await observed.observe(store)
    await store.history(FLOW, "chat")

    assert dict(observed.of("PIPELINE").attributes or {})["db.operation.batch.size"] == 4


async def test_nothing_that_is_told_has_a_text_or_a_name(store: SessionStore, observed: Observed) -> None:
    await observed.observe(store)
    await say(store, TEXT, "private session", flow="private flow")
    await texts(store, "private session", flow="private flow")
    with pytest.raises(SessionNotFoundError):
        await store.rename_session("private flow", "private other", "private new")

    told = "".join(span.to_json() for span in observed.spans.get_finished_spans()) + str(observed.metrics())
    assert "SessionStore.rename_session" in told
    assert "private" not in told
    assert TEXT not in told


async def test_a_call_that_fails_is_marked(store: SessionStore, backend: Backend, observed: Observed) -> None:
    await observed.observe(store)
    await backend.raw(store).set(keys_of(store).ids, "x")
    with pytest.raises(SessionNotFoundError):
        await store.rename_session("other", "a", "b")
    with pytest.raises(Exception, match="another Redis type"):
        await store.history(FLOW, "chat")

    failed = observed.of("SessionStore.rename_session")
    assert failed.status.status_code is StatusCode.ERROR
    assert (failed.attributes or {})["error.type"] == "SessionNotFoundError"
    assert (observed.of("SessionStore.history").attributes or {})["error.type"] == "WrongTypeError"
    errors = [span for span in observed.spans.get_finished_spans() if span.kind is SpanKind.CLIENT]
    assert [span.status.status_code for span in errors if span.name == "PIPELINE"] == [StatusCode.ERROR]
    points = observed.metrics()["redis_sessions.call.duration"]
    assert {"redis_sessions.call": "rename_session", "error.type": "SessionNotFoundError"} in [
        dict(point.attributes) for point in points
    ]


async def test_calls_are_measured_and_counted(
    store: SessionStore, backend: Backend, observed: Observed
) -> None:
    await say(store)
    await backend.raw(store).xadd(keys_of(store).log("chat"), {"b": "x"}, id="9999999999999999-1")
    await observed.observe(store)
    for _ in range(3):
        await texts(store)

    found = observed.metrics()
    [calls] = found["redis_sessions.call.duration"]
    assert (dict(calls.attributes), calls.count) == ({"redis_sessions.call": "history"}, 3)
    assert sum(point.count for point in found["db.client.operation.duration"]) >= 3
    assert [point.value for point in found["redis_sessions.corrupt_entries"]] == [3]
    assert [point.value for point in found["redis_sessions.retries"]] == [0]


async def test_faults_are_counted_by_their_type(observed: Observed) -> None:
    with valkey_server() as server:
        async with SessionStore.from_url(server.url) as store:
            await say(store)
            await observed.observe(store)
            for client in server.client().client_list():
                if client["name"] == "redis-sessions":
                    server.client().client_kill_filter(_id=client["id"])
            await say(store)
            assert sum(point.value for point in observed.metrics()["redis_sessions.retries"]) == sum(
                [store.counters.retries]
            )
            assert sum(point.value for point in observed.metrics().get("redis_sessions.faults", [])) == sum(
                store.counters.faults.values()
            )


async def test_it_begins_with_the_setting_and_ends_with_the_store(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch, observed: Observed
) -> None:
    from opentelemetry import trace

    monkeypatch.setattr(trace, "get_tracer_provider", lambda: observed.tracer_provider)
    monkeypatch.setattr("redis_sessions.otel._telemetries", {})
    store = await make_store(otel=True)
    await say(store)
    assert observed.of("SessionStore.append")
    await store.aclose()
    await store.open()
    observed.spans.clear()
    await texts(store)
    assert [span.name for span in observed.spans.get_finished_spans()] == ["PIPELINE", "SessionStore.history"]
    await store.aclose()
    with pytest.raises(StoreClosedError):
        await instrument(store)


@pytest.mark.backends("valkey")
def test_a_blocking_store_goes_on_with_the_callers_span(backend: Backend, observed: Observed) -> None:
    with blocking.SessionStore.from_url(backend.url, prefix=backend.prefix) as store:
        link = store._link
        assert link is not None
        link.run(observed.observe)
        with observed.tracer_provider.get_tracer("test").start_as_current_span("outer") as outer:
            store.append(FLOW, text="x", sender="U", sender_name="A")
    parent = observed.of("SessionStore.append").parent
    assert parent is not None
    assert parent.span_id == outer.get_span_context().span_id


def test_all_calls_are_told_of() -> None:
    calls = calls_of(SessionStore)
    assert {"append", "history", "delete_flow", "add_transaction", "ping"} <= set(calls)
    assert not {"open", "aclose", "watch"} & set(calls)


async def test_a_store_that_is_not_observed_is_not_wrapped(store: SessionStore) -> None:
    assert [name for name in vars(store) if name in calls_of(SessionStore)] == []
    assert "replies" not in vars(store._parts.transport)


def test_the_extra_is_named_where_it_is_missing() -> None:
    program = (
        "import sys, asyncio; sys.modules['opentelemetry'] = None\n"
        "from redis_sessions import SessionStore, MissingExtraError\n"
        "try: asyncio.run(SessionStore.from_url('memory://', otel=True).open())\n"
        "except MissingExtraError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "redis-sessions[otel]" in done.stdout, done.stderr


def test_it_is_not_imported_unless_it_is_asked_for() -> None:
    program = "import redis_sessions, sys; print('redis_sessions.otel' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


DOCS = Path(__file__).parents[1] / "docs"
TOLD = re.compile(r"\b(?:redis_sessions_\w+?|db_\w+?)_(?:bucket|count|total)\b")


def in_prometheus(name: str, points: list[Any]) -> set[str]:
    """What the OpenTelemetry exporter for Prometheus makes of a metric's name."""
    plain = name.replace(".", "_")
    if isinstance(points[0], HistogramDataPoint):
        return {f"{plain}_seconds_bucket", f"{plain}_seconds_count"}
    return {f"{plain}_total"}


async def test_the_dashboard_and_the_documentation_ask_for_metrics_that_there_are(observed: Observed) -> None:
    with valkey_server() as server:
        async with SessionStore.from_url(server.url, deadline=0.5) as store:
            await observed.observe(store)
            await say(store)
            server.kill()
            with pytest.raises(StoreUnavailableError):
                await say(store)
            told = {name: in_prometheus(name, points) for name, points in observed.metrics().items()}
    every = set().union(*told.values())

    dashboard = json.loads((DOCS / "grafana" / "library.json").read_text("utf-8"))
    shown = TOLD.findall(
        " ".join(target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
    )
    documented = TOLD.findall((DOCS / "observability.md").read_text("utf-8"))
    assert len(told) == 5
    for asked in (set(shown), set(documented)):
        assert asked <= every
        assert [name for name, series in told.items() if not asked & series] == []


async def test_attributes_and_metrics_have_the_names_of_the_semantic_conventions(
    store: SessionStore, observed: Observed
) -> None:
    known = {
        value
        for module in (db_attributes, error_attributes, server_attributes)
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, str)
    }
    await observed.observe(store)
    await say(store)
    await texts(store)
    with pytest.raises(SessionNotFoundError):
        await store.rename_session("other", "a", "b")

    used = {name for span in observed.spans.get_finished_spans() for name in span.attributes or {}}
    used |= {name for points in observed.metrics().values() for point in points for name in point.attributes}
    assert {name for name in used if not name.startswith("redis_sessions.")} <= known
    assert {"db.system.name", "db.operation.name", "error.type"} <= used
    assert db_metrics.DB_CLIENT_OPERATION_DURATION in observed.metrics()
