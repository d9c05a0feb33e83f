"""What is stored and what comes back: messages, their changes, and events.

The fields and their defaults are those of Langflow 1.13's message row
(``services/database/models/message/model.py``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, field_validator

from redis_sessions.clock import to_us
from redis_sessions.ids import EntryId, to_cursor


def _uuid_to_text(value: Any) -> Any:
    return str(value) if isinstance(value, UUID) else value


Name = Annotated[str, BeforeValidator(_uuid_to_text)]
"""Text that may be given as a UUID."""


class Source(BaseModel):
    """The component a message comes from."""

    model_config = ConfigDict(extra="allow")

    id: str | None = None
    display_name: str | None = None
    source: str | None = None


class Usage(BaseModel):
    """Tokens that a model used."""

    model_config = ConfigDict(extra="allow")

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None


class Properties(BaseModel):
    """How a message is shown and where it comes from. Unknown fields are kept, and not served over HTTP."""

    model_config = ConfigDict(extra="allow")

    text_color: str | None = None
    background_color: str | None = None
    edited: bool = False
    source: Source = Field(default_factory=Source)
    icon: str | None = None
    allow_markdown: bool = False
    positive_feedback: bool | None = None
    state: Literal["partial", "complete"] = "complete"
    targets: list[Any] = []
    usage: Usage | None = None
    build_duration: float | None = None

    @field_validator("source", mode="before")
    @classmethod
    def _source_by_name(cls, value: Any) -> Any:
        if isinstance(value, str):
            return Source(id=value, display_name=value, source=value)
        return Source() if value is None else value


class NewMessage(BaseModel):
    """A message to store.

    Attributes:
        session_id: the conversation; without one, the flow's own id.
        timestamp: when it was said; with a time zone, from 1970 on. Without one, now.
        user_id: the person it is stored for (the *message owner*).
        id: an id made elsewhere (a UUID), to be *adopted*. Without one, the store makes it.
    """

    model_config = ConfigDict(extra="forbid", validate_default=False)

    text: str
    sender: str
    sender_name: str
    session_id: Name | None = None
    timestamp: datetime | None = None
    user_id: Name | None = None
    run_id: Name | None = None
    id: Name | None = None
    context_id: str | None = None
    files: list[str] = []
    error: bool = False
    edit: bool = False
    properties: Properties = Field(default_factory=Properties)
    category: str = "message"
    content_blocks: list[dict[str, Any]] = []
    session_metadata: dict[str, Any] | None = None
    duration: float | None = None


class MessageUpdate(BaseModel):
    """A partial change. A field that is not given, or None, stays as it is (as in Langflow's PUT).

    ``properties`` is replaced whole. ``edit`` becomes True when the text changes, whatever is given.
    ``session_id`` moves the message to another session of its flow.
    """

    model_config = ConfigDict(extra="forbid")

    text: str | None = None
    sender: str | None = None
    sender_name: str | None = None
    session_id: Name | None = None
    context_id: str | None = None
    files: list[str] | None = None
    edit: bool | None = None
    error: bool | None = None
    properties: Properties | None = None
    session_metadata: dict[str, Any] | None = None
    category: str | None = None
    content_blocks: list[dict[str, Any]] | None = None


class Message(BaseModel):
    """A stored message.

    Messages are ordered by (``timestamp``, place in the session). ``cursor`` names that place and
    outlives the message.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    flow_id: str
    session_id: str
    timestamp: datetime
    sender: str
    sender_name: str
    context_id: str | None = None
    text: str
    files: list[str] = []
    error: bool = False
    edit: bool = False
    properties: Properties = Field(default_factory=Properties)
    category: str = "message"
    content_blocks: list[dict[str, Any]] = []
    session_metadata: dict[str, Any] | None = None
    run_id: str | None = None
    user_id: str | None = None
    duration: float | None = None

    _entry: EntryId = PrivateAttr()

    @property
    def cursor(self) -> str:
        """An opaque place for ``before=``; stays valid after the message is gone."""
        return to_cursor(to_us(self.timestamp), self._entry)


@dataclass(frozen=True, slots=True)
class RenameResult:
    """What a rename did.

    Attributes:
        outcome: ``renamed``; ``merged`` when the new id already named a session; ``unchanged`` when both
            ids are the same.
        messages: entries in the session now.
        session_id: its present id.
        numbers: the session numbers that moved; a message moved if its entry carries one of them.
    """

    outcome: Literal["renamed", "merged", "unchanged"]
    messages: int
    session_id: str
    numbers: frozenset[int] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Event:
    """One change in a flow.

    Attributes:
        type: what happened. A message that moves to another session is ``updated`` for a watcher of
            the flow, ``deleted`` for one of its old session, ``created`` for one of the new.
        id: the event's place in the feed; ``watch(after=id)`` goes on behind it.
        session_id: the session, by its id after the change.
        message_id: the message; None when a whole session was renamed or deleted.
        message: its present content; None when it is gone (its deletion follows, or this is it).
        old_session_id: the former id, for a rename or a move.
    """

    type: Literal["created", "updated", "deleted", "renamed"]
    id: str
    flow_id: str
    session_id: str
    message_id: str | None = None
    message: Message | None = None
    old_session_id: str | None = None
