"""OpenTelemetry spans and metrics of a store, by the conventions for database clients.

Spans: one for each call (``SessionStore.append``), and below it one for each round trip (``EVALSHA append``).
Metrics: ``db.client.operation.duration`` of round trips, ``redis_sessions.call.duration`` of calls, and
counters of retries, faults and corrupt entries. No span or metric has a text of a message, a key, a flow or a
session.

A store that is not instrumented has none of this in its way: an instrumented one is wrapped from outside.
"""

from __future__ import annotations

import functools
import inspect
import time
import weakref
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoScriptError, RedisError

from redis_sessions.errors import MissingExtraError, StoreClosedError
from redis_sessions.scripting import NAMES, source
from redis_sessions.urls import parse_url

try:
    from opentelemetry import metrics, trace
    from opentelemetry.metrics import Observation
    from opentelemetry.trace import SpanKind, StatusCode
except ImportError:
    raise MissingExtraError("otel needs opentelemetry-api: pip install 'redis-sessions[otel]'") from None

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

    from opentelemetry.metrics import CallbackOptions, MeterProvider
    from opentelemetry.trace import Span, TracerProvider

    from redis_sessions.calls import Counters
    from redis_sessions.store import SessionStore
    from redis_sessions.transport import Command

    Attributes = dict[str, str | int]

SCOPE = "redis_sessions"
BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_WAITS = "XREAD"
"""What a watcher waits with, for a second at a time: no operation."""
_telemetries: dict[tuple[int, int], Telemetry] = {}


async def instrument(
    store: SessionStore,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> None:
    """Tell of all calls of an open store from now on. May be repeated.

    The setting ``otel`` does it when a store is opened.

    Args:
        tracer_provider, meter_provider: OpenTelemetry's global ones when not given.

    Raises:
        StoreClosedError: the store is not open.
    """
    key = id(tracer_provider), id(meter_provider)
    if key not in _telemetries:
        _telemetries[key] = Telemetry(tracer_provider, meter_provider)
    await _telemetries[key].instrument(store)


class Telemetry:
    """The instruments of one pair of providers."""

    def __init__(self, tracer_provider: TracerProvider | None, meter_provider: MeterProvider | None) -> None:
        from redis_sessions import __version__

        self._providers = tracer_provider, meter_provider  # kept: they are known by their ids
        self._tracer = trace.get_tracer(SCOPE, __version__, tracer_provider)
        meter = metrics.get_meter(SCOPE, __version__, meter_provider)
        self._trips = meter.create_histogram(
            "db.client.operation.duration",
            "s",
            "Duration of database client operations.",
            explicit_bucket_boundaries_advisory=BUCKETS,
        )
        self._calls = meter.create_histogram(
            "redis_sessions.call.duration",
            "s",
            "Duration of calls of the store, retries included.",
            explicit_bucket_boundaries_advisory=BUCKETS,
        )
        self._stores: weakref.WeakSet[SessionStore] = weakref.WeakSet()
        meter.create_observable_counter(
            "redis_sessions.retries", [self._retries], "{retry}", "Further attempts."
        )
        meter.create_observable_counter(
            "redis_sessions.faults", [self._faults], "{fault}", "Failed attempts."
        )
        meter.create_observable_counter(
            "redis_sessions.corrupt_entries", [self._corrupt], "{entry}", "Entries that were skipped."
        )

    async def instrument(self, store: SessionStore) -> None:
        transport = store._parts.transport
        if not hasattr(transport.replies, "__wrapped__"):
            attributes = await _where(store)
            transport.replies = self._observed_trip(transport.replies, attributes)  # type: ignore[method-assign]
        if store in self._stores:
            return
        self._stores.add(store)
        for name in calls_of(type(store)):
            setattr(store, name, self._observed_call(name, getattr(store, name)))

    def _observed_call(self, name: str, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        attributes = {"redis_sessions.call": name}

        @functools.wraps(call)
        async def observed(*args: Any, **options: Any) -> Any:
            found: Attributes = {}
            started = time.perf_counter()
            with self._tracer.start_as_current_span(
                f"SessionStore.{name}",
                attributes=attributes,
                record_exception=False,
                set_status_on_exception=False,
            ) as span:
                try:
                    return await call(*args, **options)
                except BaseException as error:
                    found["error.type"] = _fail(span, error)
                    raise
                finally:
                    self._calls.record(time.perf_counter() - started, {**attributes, **found})

        return observed

    def _observed_trip(
        self, send: Callable[..., Awaitable[list[Any]]], where: Attributes
    ) -> Callable[..., Awaitable[list[Any]]]:
        @functools.wraps(send)
        async def observed(key: bytes, *commands: Command) -> list[Any]:
            if commands[0][0] == _WAITS:
                return await send(key, *commands)
            operation = where | _operation(commands)
            name = str(operation["db.operation.name"])
            procedure = operation.get("db.stored_procedure.name")
            started = time.perf_counter()
            with self._tracer.start_as_current_span(
                f"{name} {procedure}" if procedure else name,
                kind=SpanKind.CLIENT,
                attributes=operation,
                record_exception=False,
                set_status_on_exception=False,
            ) as span:
                try:
                    replies = await send(key, *commands)
                    refused = next((reply for reply in replies if _is_fault(reply)), None)
                    if refused is not None:
                        operation["error.type"] = _fail(span, refused)
                    return replies
                except BaseException as error:
                    operation["error.type"] = _fail(span, error)
                    raise
                finally:
                    self._trips.record(time.perf_counter() - started, operation)

        return observed

    def _counters(self) -> Iterator[Counters]:
        for store in list(self._stores):
            try:
                yield store.counters
            except StoreClosedError:
                continue

    def _retries(self, _: CallbackOptions) -> Iterable[Observation]:
        return [Observation(sum(counters.retries for counters in self._counters()))]

    def _corrupt(self, _: CallbackOptions) -> Iterable[Observation]:
        return [Observation(sum(counters.corrupt_entries for counters in self._counters()))]

    def _faults(self, _: CallbackOptions) -> Iterable[Observation]:
        by_type: dict[str, int] = {}
        for counters in self._counters():
            for name, count in counters.faults.items():
                by_type[name] = by_type.get(name, 0) + count
        return [Observation(count, {"error.type": name}) for name, count in by_type.items()]


def calls_of(kind: type) -> list[str]:
    """The methods of a store that are told of: its coroutines, but for opening and closing."""
    return [
        name
        for name, member in inspect.getmembers(kind, inspect.iscoroutinefunction)
        if not name.startswith("_") and name not in {"open", "aclose"}
    ]


async def _where(store: SessionStore) -> Attributes:
    """Which system, which database, and where: the same for all round trips of a store."""
    connection = store._parts.connection
    url = store.settings.url.get_secret_value() if store.settings.url else ""
    location = parse_url(url.strip())
    system = "valkey" if location.scheme.startswith("valkey") or connection.kind == "embedded" else "redis"
    where: Attributes = {"db.system.name": system, "db.namespace": str(location.db)}
    if len(location.hosts) == 1:
        where["server.address"], where["server.port"] = location.hosts[0]
    elif location.kind == "standalone":
        where["server.address"] = location.path
    return where


_procedures = {part: name for name in NAMES for part in (source(name).sha, source(name).text)}


def _operation(commands: Sequence[Command]) -> Attributes:
    """What a round trip is about, by the conventions for Redis; without any argument but a script's name."""
    names = [str(command[0]) for command in commands]
    found: Attributes = {"db.operation.name": names[0]}
    if len(names) > 1:
        same = len(set(names)) == 1
        found["db.operation.name"] = f"PIPELINE {names[0]}" if same else "PIPELINE"
        found["db.operation.batch.size"] = len(names)
    for command in commands:
        if command[0] in ("EVALSHA", "EVAL"):
            found["db.stored_procedure.name"] = _procedures.get(command[1], "unknown")
    return found


def _is_fault(reply: object) -> bool:
    return isinstance(reply, RedisError) and not isinstance(reply, NoScriptError)


def _fail(span: Span, error: BaseException) -> str:
    """Mark a span as failed; returns the kind of error. Its text, which may name a flow, is left out."""
    kind = type(error).__qualname__
    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR)
    return kind
