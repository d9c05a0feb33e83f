"""LangChain's chat message history over a session store.

Needs the extra ``langchain``::

    from redis_sessions.langchain import RedisSessionHistory

    history = RedisSessionHistory("monday", url="redis://localhost:6379/0", limit=100)
    history.add_messages([HumanMessage("Hello!"), AIMessage("Hi.")])
    history.messages
"""

from redis_sessions.errors import MissingExtraError

try:
    from redis_sessions.langchain.conversion import from_langchain, to_langchain
    from redis_sessions.langchain.history import RedisSessionHistory
except ModuleNotFoundError as _error:
    if (_error.name or "").partition(".")[0] != "langchain_core":
        raise
    raise MissingExtraError(
        "redis_sessions.langchain needs langchain-core: pip install 'redis-sessions[langchain]'"
    ) from None

__all__ = ["RedisSessionHistory", "from_langchain", "to_langchain"]
