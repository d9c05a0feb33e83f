"""Messages of every kind, for hypothesis, and the entries that they are stored in."""

from __future__ import annotations

from hypothesis import strategies as st

from redis_sessions import NewMessage
from redis_sessions.ids import draw_number
from tests.support.talk import FLOW

US = 1_714_979_289_000_001
NUMBER = draw_number(FLOW)

# What text fields may hold: anything but lone surrogates, which do not come back as they were.
words = st.text(max_size=30)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(words, values, max_size=4)
blocks = st.lists(
    objects
    | st.fixed_dictionaries(
        {"title": words, "contents": st.lists(objects, max_size=2)}, optional={"type": st.just("group")}
    )
    | st.fixed_dictionaries({"type": st.sampled_from(["text", "tool_use", "code"]), "text": words}),
    max_size=3,
)
messages = st.builds(
    NewMessage,
    text=words,
    sender=words,
    sender_name=words,
    user_id=st.none() | words,
    run_id=st.none() | words,
    context_id=st.none() | words,
    files=st.lists(words, max_size=3),
    error=st.booleans(),
    edit=st.booleans(),
    category=words,
    content_blocks=blocks,
    session_metadata=st.none() | objects,
    duration=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    properties=st.none()
    | st.fixed_dictionaries({}, optional={"icon": words, "own": values, "source": words}),
)


def entry(body: bytes, us: int = US, number: int = NUMBER) -> tuple[bytes, bytes, bytes, None]:
    return b"%d-%d" % (us, number), b"%d" % us, body, None
