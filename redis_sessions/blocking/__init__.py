"""The store for synchronous code::

from redis_sessions.blocking import SessionStore

with SessionStore.from_url("redis://localhost:6379/0") as store:
    store.append("flow-1", session_id="monday", text="Hello!", sender="User", sender_name="Ann")
"""

from redis_sessions.blocking.store import SessionStore

__all__ = ["SessionStore"]
