"""Langflow's Redis Chat Memory component: langchain-community's history, made anew for every call.

A component is built for each run of a flow, and makes a ``RedisChatMessageHistory`` then; so each call
connects.
"""

from __future__ import annotations

from langchain_community.chat_message_histories.redis import RedisChatMessageHistory

from benchmarks.subjects.langchain_community import LangchainCommunity


class LangflowComponent(LangchainCommunity):
    """A connection a call."""

    def _history(self, session: str) -> RedisChatMessageHistory:
        return RedisChatMessageHistory(session, url=self.url)


SUBJECT = LangflowComponent
