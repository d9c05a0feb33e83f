"""A small conversation to look at, for `serve --demo`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from redis_sessions.models import NewMessage, Properties, Source, Usage

if TYPE_CHECKING:
    from redis_sessions.store import SessionStore

FLOW = "8d2f6c1e-4b7a-4e55-9c03-5a1f0e7b2d94"
SESSION = "refund-4711"

_PERSON = Properties(source=Source(id="ChatInput-q8Zt1", display_name="Chat Input", source="ChatInput"))
_MODEL = Properties(
    source=Source(id="ChatOutput-m3Kd7", display_name="Chat Output", source="gpt-4o-mini"),
    icon="OpenAI",
    usage=Usage(input_tokens=212, output_tokens=48, total_tokens=260),
)
# (minutes ago, session, who, text)
_SAID = [
    (1_445, "onboarding-ada", "User", "Hi! I just signed up. Where do I start?"),
    (
        1_444,
        "onboarding-ada",
        "AI",
        "Welcome, Ada. Create a workspace first; then invite your team from its settings.",
    ),
    (1_440, "onboarding-ada", "User", "Done. Can I import our old conversations?"),
    (
        1_439,
        "onboarding-ada",
        "AI",
        "Yes: **Settings → Import** takes CSV and JSON.\nUp to 50,000 messages a file.",
    ),
    (9, SESSION, "User", "Order 4711 arrived broken. I would like my money back."),
    (8, SESSION, "AI", "I am sorry to hear that. Could you send a photo of the damage?"),
    (4, SESSION, "User", "Here it is. The lid is cracked. 📷"),
    (3, SESSION, "AI", "Thank you. The refund of 39.90 € is on its way; it takes three to five days."),
    (1, FLOW, "User", "What is the weather like in Lisbon?"),
    (1, FLOW, "AI", "Sunny, 24 °C, with a light breeze from the north-west."),
]


async def load_demo(store: SessionStore) -> bool:
    """Store the demo's conversations if the store is empty; whether it was."""
    if await store.flows():
        return False
    now = datetime.now(UTC)
    for session in dict.fromkeys(session for _, session, _, _ in _SAID):
        await store.append_many(
            FLOW,
            [
                NewMessage(
                    text=text,
                    sender="User" if name == "User" else "Machine",
                    sender_name=name,
                    session_id=session,
                    timestamp=now - timedelta(minutes=ago),
                    properties=_PERSON if name == "User" else _MODEL,
                    duration=None if name == "User" else 1.4,
                )
                for ago, said_in, name, text in _SAID
                if said_in == session
            ],
        )
    return True
