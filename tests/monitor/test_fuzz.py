"""Whatever is asked, the monitor answers it, and never with an error of its own."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .conftest import PATH

if TYPE_CHECKING:
    import httpx

    from redis_sessions.store import SessionStore

FLOW = "3144eabb-7f7f-4c97-b9aa-2e8c05db8e3e"
MESSAGE = "45880ffa-9908-492c-8f58-777840c875a5"
paths = st.one_of(
    st.sampled_from(
        [
            "/builds",
            "/transactions",
            "/flows",
            "/messages",
            "/messages/export",
            "/messages/sessions",
            "/messages/shared",
            "/messages/shared/sessions",
            "/messages/session/s",
            "/messages/shared/session/s",
            f"/messages/{MESSAGE}",
            f"/messages/shared/{MESSAGE}",
            "/page/sessions",
            "/page/session",
        ]
    ),
    st.binary(max_size=12).map(lambda raw: f"/messages/session/{quote(raw, safe='')}"),
)
words = st.one_of(
    st.sampled_from(
        [
            FLOW,
            MESSAGE,
            "s",
            "",
            "0",
            "1",
            "-1",
            "9" * 30,
            "ASC",
            "desc",
            "text",
            "null",
            "%",
            "%2525",
            "\x00",
        ]
    ),
    st.text(max_size=8),
)
NAMES = (
    "flow_id source_flow_id session_id limit offset order order_by before sender sender_name end_user_id "
    "page size new_session_id filter x"
)
names = st.sampled_from(NAMES.split())
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), words),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                [
                    "text",
                    "sender",
                    "files",
                    "edit",
                    "session_id",
                    "properties",
                    "source",
                    "new_session_id",
                    "merge",
                ]
            ),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=6,
)
bodies = st.one_of(
    st.none(), st.binary(max_size=20), json_values.map(lambda value: json.dumps(value).encode())
)
headers = st.dictionaries(
    st.sampled_from(
        ["if-none-match", "last-event-id", "x-api-key", "authorization", "accept-encoding", "cookie"]
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12),
    max_size=2,
)


@given(
    method=st.sampled_from(["GET", "PUT", "PATCH", "DELETE", "POST", "HEAD"]),
    path=paths,
    query=st.dictionaries(names, words, max_size=4),
    body=bodies,
    given_headers=headers,
    kind=st.sampled_from(["application/json", "text/plain", ""]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
async def test_whatever_is_asked_is_answered(
    memory_store: SessionStore,
    client: httpx.AsyncClient,
    method: str,
    path: str,
    query: dict[str, str],
    body: bytes | None,
    given_headers: dict[str, str],
    kind: str,
) -> None:
    if not await memory_store.length(FLOW, "s"):
        await memory_store.append(
            FLOW, text="hello", sender="u", sender_name="u", session_id="s", id=uuid.uuid4()
        )
    sent: Any = client.build_request(
        method, PATH + path, params=query, content=body, headers={**given_headers, "content-type": kind}
    )
    answer = await client.send(sent)

    assert answer.status_code < 500
    if answer.headers.get("content-type", "").startswith("application/json"):
        json.loads(answer.text) if answer.text else None
