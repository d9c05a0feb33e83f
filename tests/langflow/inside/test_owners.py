"""Redis knows whose a flow is, as Langflow's database has it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from langflow.schema.message import Message
from langflow.services.database.models.flow.model import Flow
from langflow.services.deps import session_scope
from lfx.memory import aadd_messages

from redis_sessions.langflow import owners

if TYPE_CHECKING:
    from redis_sessions import SessionStore
    from tests.langflow.inprocess import Application
    from tests.langflow.inside.people import Person


async def say(flow: str) -> None:
    message = Message(text="x", sender="User", sender_name="User", session_id="chat")
    await aadd_messages([message], flow_id=flow, user_id=uuid.uuid4())


async def test_a_message_makes_its_flow_its_owners(person: Person, store: SessionStore, flow: str) -> None:
    await say(flow)

    assert await store.owner(flow) == person.id
    assert flow in await store.flows(owner=person.id)


async def test_a_flow_that_langflow_gave_to_another_user_is_theirs_with_the_next_message(
    person: Person, store: SessionStore, flow: str
) -> None:
    await say(flow)
    other = uuid.uuid4()
    async with session_scope() as database:
        row = await database.get(Flow, uuid.UUID(flow))
        row.user_id = other
    owners.forget()

    await say(flow)

    assert await store.owner(flow) == str(other)
    assert len(await store.history(flow, "chat")) == 2


async def test_the_database_is_asked_once_for_many_messages(
    langflow: Application, person: Person, flow: str
) -> None:
    owners.forget()
    with langflow.counted() as statements:
        for _ in range(5):
            await say(flow)

    assert statements["SELECT"] == 1


async def test_messages_of_a_flow_that_langflow_does_not_have_are_nobodys(
    langflow: Application, store: SessionStore
) -> None:
    flow = str(uuid.uuid4())

    await say(flow)

    assert await store.owner(flow) is None
