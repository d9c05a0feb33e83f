"""Component runs: kept as Langflow keeps them, and shown as it shows them."""

from __future__ import annotations

import math
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from langflow.services.database.models.transactions import crud
from langflow.services.database.models.transactions.model import TransactionBase
from langflow.services.deps import get_settings_service, session_scope
from lfx.services.deps import get_transaction_service

from redis_sessions.langflow import recorder, seams, transactions
from redis_sessions.langflow.transactions import TransactionService
from tests.langflow.inside.people import from_langflow

if TYPE_CHECKING:
    from redis_sessions import SessionStore
    from tests.langflow.inprocess import Application
    from tests.langflow.inside.people import Person

SECRETS = {
    "api_key": "sk-1234567890abcdef",
    "openai_api_key": "short",
    "max_tokens": 100,
    "token": 5,
    "code": "import os",
    "nested": [{"password": "hunter2hunter2"}, ["plain", {"auth": None}]],
    "deep": {"private-key": "-----BEGIN PRIVATE KEY-----", "input_value": "hello"},
}
AWKWARD = {
    "long": "x" * 20_050,
    "many": list(range(1_200)),
    "nan": math.nan,
    "when": datetime(2026, 5, 1, 12, tzinfo=UTC),
    "bytes": b"\xff\x00abc",
    "id": uuid.UUID(int=7),
    "umlaut": "ä\u2028",
}


async def log(flow: str, **fields: Any) -> None:
    values: dict[str, Any] = {"vertex_id": "v", "inputs": None, "outputs": None, "status": "success"} | fields
    await get_transaction_service().log_transaction(flow, **values)


async def page(person: Person, flow: str, **params: int) -> dict[str, Any]:
    assert recorder.flush(20)
    answer = await person.client.get("/api/v1/monitor/transactions", params={"flow_id": flow, **params})
    return dict(answer.raise_for_status().json())


async def test_langflow_has_our_transaction_service(langflow: Application) -> None:
    assert type(get_transaction_service()) is TransactionService


@pytest.mark.parametrize("data", [SECRETS, AWKWARD, {}, None], ids=["secrets", "awkward", "empty", "none"])
async def test_a_run_is_shown_as_stock_langflow_shows_it(
    person: Person, flow: str, data: dict[str, Any] | None
) -> None:
    other = await person.new_flow()
    fields = {"vertex_id": "v", "inputs": data, "outputs": data, "status": "error", "target_id": "t"}
    async with session_scope() as session:
        await seams.stock(crud, "log_transaction")(
            session, TransactionBase(flow_id=uuid.UUID(other), error="e", **fields)
        )
    await log(flow, error="e", **fields)

    (ours,) = (await page(person, flow))["items"]
    with from_langflow():
        (theirs,) = (await page(person, other))["items"]
    assert list(ours) == list(theirs)
    for name in ("id", "timestamp"):
        assert len(ours.pop(name)) == len(theirs.pop(name))
    assert ours == theirs


async def test_what_is_not_shown_is_kept_too(store: SessionStore, flow: str) -> None:
    owner = uuid.uuid4()
    await log(flow, error="what went wrong", user_id=owner, session_id="s")

    assert recorder.flush(20)
    (kept,) = await store.transactions(flow)
    assert (kept.error, kept.user_id, kept.session_id) == ("what went wrong", str(owner), "s")


async def test_a_flow_keeps_as_many_as_langflows_setting_says_and_the_newest(
    person: Person, flow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_settings_service().settings, "max_transactions_to_keep", 3)
    for number in range(5):
        await log(flow, vertex_id=f"v{number}")

    found = await page(person, flow, page=1, size=2)
    assert (found["total"], found["pages"]) == (3, 2)
    assert [one["vertex_id"] for one in found["items"]] == ["v4", "v3"]


async def test_they_can_be_turned_off(
    store: SessionStore, flow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = get_settings_service().settings
    monkeypatch.setattr(settings, "transactions_storage_enabled", False)
    await log(flow)
    monkeypatch.setattr(settings, "transactions_storage_enabled", True)
    monkeypatch.setattr(settings, "max_transactions_to_keep", 0)
    await log(flow)

    assert recorder.flush(20)
    assert await store.transactions(flow) == []
    monkeypatch.setattr(settings, "transactions_storage_enabled", False)
    assert not get_transaction_service().is_enabled()


async def test_bare_lfx_keeps_none(langflow: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    service = get_transaction_service()
    assert service.is_enabled()
    monkeypatch.setattr(transactions, "_has_langflow", lambda: False)
    assert not service.is_enabled()


async def test_what_cannot_be_noted_does_not_harm_the_run(
    store: SessionStore, flow: str, caplog: pytest.LogCaptureFixture
) -> None:
    await log("not-a-uuid")
    await log(flow, inputs={"x": "y"}, status=None)
    await log(flow)

    assert recorder.flush(20)
    assert len(await store.transactions(flow)) == 1
    assert "transaction of v not noted" in caplog.text


async def test_what_is_not_utf_8_is_kept_as_far_as_it_is(store: SessionStore, flow: str) -> None:
    await log(flow, inputs={"half": "a\ud800b"})

    assert recorder.flush(20)
    (kept,) = await store.transactions(flow)
    assert kept.inputs == {"half": "a\ufffdb"}


async def test_langflows_database_gets_none(langflow: Application, flow: str) -> None:
    with langflow.counted() as statements:
        await log(flow)
        assert recorder.flush(20)
    assert not statements
