"""Plain messages, made fast: who said what, with or without properties, which is what most of them are.

Their bodies are put together of lines that are remembered, and so are the messages that they will be read
as: what a model would check, serialize and parse is text, which needs no check, or was there before. Anything
else is left to ``NewMessage``, ``encode`` and ``decode``, which make the same (``tests/test_drafts.py``).
"""

from __future__ import annotations

import marshal
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, to_json

from redis_sessions.body import encode, read_middle
from redis_sessions.errors import InvalidInputError
from redis_sessions.layout import MARK, shorten_head
from redis_sessions.models import Message, NewMessage

if TYPE_CHECKING:
    from redis_sessions.body import Middle

_MOST = 1_024
_LONGEST = 1_024
"""Bytes of properties, as Python writes them, that are remembered."""
_TYPED = 2
"""The version of marshal's format: the last one in which equal values are the same bytes. Types differ."""


class Drafts:
    """What is remembered of the messages that one store has made."""

    def __init__(self) -> None:
        self._heads: dict[tuple[str, str], bytes] = {}
        self._middles: dict[bytes, tuple[bytes, Middle] | None] = {}
        self._default = b"", read_middle(b"")

    def plain(
        self,
        flow_id: str,
        session_id: str,
        *,
        text: str,
        sender: str,
        sender_name: str,
        properties: dict[str, Any] | None,
    ) -> tuple[bytes, Message] | None:
        """A message's body, and the message without its place and time; None when it is not so plain."""
        head = self._heads.get((sender, sender_name)) or self._head(sender, sender_name)
        found = self._default if properties is None else self._middle(properties)
        if head is None or found is None:
            return None
        line, middle = found
        try:
            body = b"%b\n%b\n%b\n%b\n" % (MARK, head, to_json(text), line)
        except PydanticSerializationError:  # lone surrogates
            return None
        message = Message(
            sender,
            sender_name,
            None,
            text,
            middle.edit,
            middle.duration,
            middle.category,
            [],
            None,
            middle.files,
            middle.properties,
            flow_id,
            session_id,
        )
        return body, message

    def _head(self, sender: str, sender_name: str) -> bytes | None:
        try:
            line = shorten_head(to_json({"sender": sender, "sender_name": sender_name})[10:-1])
        except PydanticSerializationError:
            return None
        if len(line) <= _LONGEST:
            if len(self._heads) >= _MOST:
                self._heads.clear()
            self._heads[sender, sender_name] = line
        return line

    def _middle(self, properties: dict[str, Any]) -> tuple[bytes, Middle] | None:
        try:
            key = marshal.dumps(properties, _TYPED)
        except ValueError:  # more than plain values
            return None
        if key in self._middles:
            return self._middles[key]
        if len(key) > _LONGEST:
            return None
        try:
            body = encode(NewMessage(text="", sender="", sender_name="", properties=properties))  # type: ignore[arg-type]
        except (ValidationError, InvalidInputError):
            return None  # whoever is asked next says why
        rest, _, _, line, _ = body.split(b"\n")
        if len(self._middles) >= _MOST:
            self._middles.clear()
        # Unknown properties are stored beside those that are shown.
        found = self._middles[key] = (line, read_middle(line)) if rest == MARK else None
        return found
