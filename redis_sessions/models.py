"""What is stored and what comes back: messages, their changes, and events.

The fields and their defaults are those of Langflow 1.13's message row
(``services/database/models/message/model.py``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID, uuid4

import msgspec
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from redis_sessions.clock import from_us
from redis_sessions.ids import EntryId, to_cursor, to_message_id, to_uuid_text


def _uuid_to_text(value: Any) -> Any:
    return str(value) if isinstance(value, UUID) else value


Name = Annotated[str, BeforeValidator(_uuid_to_text)]
"""Text that may be given as a UUID."""


class Source(BaseModel):
    """The component a message comes from."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="allow")

    id: str | None = None
    display_name: str | None = None
    source: str | None = None


class Usage(BaseModel):
    """Tokens that a model used."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="allow")

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None


class Properties(BaseModel):
    """How a message is shown and where it comes from. Unknown fields are kept, and not served over HTTP."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="allow")

    text_color: str | None = None
    background_color: str | None = None
    edited: bool = False
    source: Source = Field(default_factory=Source)
    icon: str | None = None
    allow_markdown: bool = False
    positive_feedback: bool | None = None
    state: Literal["partial", "complete"] = "complete"
    targets: list[Any] = Field(default_factory=list)  # a list here would be copied deeply for each
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

    Raises:
        pydantic.ValidationError: a field is unknown, is missing, or has the wrong type.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", validate_default=False)

    text: str
    sender: str
    sender_name: str
    session_id: Name | None = None
    timestamp: datetime | None = None
    user_id: Name | None = None
    run_id: Name | None = None
    id: Name | None = None
    context_id: str | None = None
    files: list[str] = Field(default_factory=list)
    error: bool = False
    edit: bool = False
    properties: Properties | None = None
    category: str = "message"
    content_blocks: list[dict[str, Any]] = Field(default_factory=list)
    session_metadata: dict[str, Any] | None = None
    duration: float | None = None


class MessageUpdate(BaseModel):
    """A partial change. A field that is not given, or None, stays as it is (as in Langflow's PUT).

    ``properties`` is replaced whole. ``edit`` becomes True when the text changes, whatever is given.
    ``session_id`` moves the message to another session of its flow.

    Raises:
        pydantic.ValidationError: a field is unknown, or has the wrong type.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

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


class StoredSource(msgspec.Struct, frozen=True):
    """:class:`Source` as it lies in a body."""

    id: str | None
    display_name: str | None
    source: str | None


class StoredUsage(msgspec.Struct, frozen=True):
    """:class:`Usage` as it lies in a body."""

    input_tokens: int | None
    output_tokens: int | None
    total_tokens: int | None


class StoredProperties(msgspec.Struct, frozen=True):
    """:class:`Properties` as they lie in a body: checked when a message is read, converted when looked at."""

    text_color: str | None
    background_color: str | None
    edited: bool
    source: StoredSource
    icon: str | None
    allow_markdown: bool
    positive_feedback: bool | None
    state: Literal["partial", "complete"]
    targets: list[Any]
    usage: StoredUsage | None
    build_duration: float | None


class Message(msgspec.Struct, frozen=True, dict=True, repr_omit_defaults=True):
    """A stored message; immutable.

    Messages are ordered by (``timestamp``, place in the session). ``cursor`` names that place and
    outlives the message. A Struct and not a pydantic model, because a history is read often and made only
    here: decoding one costs a fifth (``benchmarks/``). Two messages are equal when all fields are.
    """

    sender: str
    sender_name: str
    context_id: str | None
    text: str
    edit: bool
    duration: float | None
    category: str
    content_blocks: list[dict[str, Any]]
    session_metadata: dict[str, Any] | None
    stored_files: str = msgspec.field(name="files")
    stored_properties: StoredProperties = msgspec.field(name="properties")
    flow_id: str = ""
    session_id: str = ""
    error: bool = False
    run_id: str | None = None
    user_id: str | None = None
    raw_id: bytes = b"0-0"
    raw_at: bytes = b"0"
    alias: bytes | None = None
    extra_properties: dict[str, Any] | None = None
    origin: dict[str, Any] | None = None
    """What the row it was imported from says beyond these fields (``transfer/sql/rows.py``)."""

    @cached_property
    def id(self) -> str:
        """The message id: lower-case UUID text."""
        return to_message_id(*self.entry) if self.alias is None else to_uuid_text(self.alias)

    @cached_property
    def timestamp(self) -> datetime:
        """When it was said; UTC, whole microseconds."""
        return from_us(int(self.raw_at))

    @property
    def entry(self) -> EntryId:
        """The place in the session's stream."""
        return EntryId.parse(self.raw_id)

    @cached_property
    def files(self) -> list[str]:
        """Paths of attachments."""
        return _no_files if self.stored_files == "[]" else _decode_files(self.stored_files)

    @cached_property
    def properties(self) -> Properties:
        """How it is shown and where it comes from."""
        if self.extra_properties is not None:
            return Properties.model_validate(self.extra_properties)
        return Properties.model_validate(msgspec.to_builtins(self.stored_properties))

    @property
    def cursor(self) -> str:
        """An opaque place for ``before=``; stays valid after the message is gone."""
        return to_cursor(int(self.raw_at), self.entry)

    def model_dump(self, *, mode: Literal["python", "json"] = "python") -> dict[str, Any]:
        """All fields as a dict, as pydantic models do; ``json``: times as ISO 8601 text."""
        fields: dict[str, Any] = {name: getattr(self, name) for name in MESSAGE_FIELDS}
        fields["properties"] = self.properties.model_dump(mode=mode)
        if mode == "json":
            fields["timestamp"] = self.timestamp.isoformat().replace("+00:00", "Z")
        return fields

    def __repr__(self) -> str:
        # Never the text: a repr ends up in logs.
        return (
            f"<Message {self.id} session={self.session_id!r} sender={self.sender!r} "
            f"timestamp={self.timestamp.isoformat()} {len(self.text)} characters>"
        )


MESSAGE_FIELDS = (
    "id",
    "flow_id",
    "session_id",
    "timestamp",
    "sender",
    "sender_name",
    "context_id",
    "text",
    "files",
    "error",
    "edit",
    "properties",
    "category",
    "content_blocks",
    "session_metadata",
    "run_id",
    "user_id",
    "duration",
)
_no_files: list[str] = []
_decode_files = msgspec.json.Decoder(list[str]).decode


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


class VertexBuild(BaseModel):
    """What building one component gave. A flow keeps the latest of each of its vertices.

    The fields are those of Langflow 1.13's row, in the order of its JSON
    (``services/database/models/vertex_builds/model.py``).

    Attributes:
        id: the vertex.
        timestamp: with a time zone; now when not given.
        build_id: names this build; made when not given.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    data: dict[str, Any] | None = None
    valid: bool
    job_id: Name | None = None
    timestamp: datetime = Field(default_factory=lambda: datetime.now(UTC))
    artifacts: dict[str, Any] | None = None
    params: str | None = None
    id: Name
    flow_id: Name
    build_id: Name = Field(default_factory=lambda: str(uuid4()))


class Transaction(BaseModel):
    """One run of a component. A flow keeps the newest ``max_transactions``.

    The fields are those of Langflow 1.13's row (``services/database/models/transactions/model.py``). What is
    secret in ``inputs`` and ``outputs`` is masked by who writes them, as there.

    Attributes:
        timestamp: with a time zone; now when not given.
        id: a UUID; made when not given.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    id: Name = Field(default_factory=lambda: str(uuid4()))
    timestamp: datetime = Field(default_factory=lambda: datetime.now(UTC))
    vertex_id: Name
    target_id: Name | None = None
    inputs: dict[str, Any] | None = None
    outputs: dict[str, Any] | None = None
    status: str
    error: str | None = None
    flow_id: Name
    user_id: Name | None = None
    session_id: Name | None = None
