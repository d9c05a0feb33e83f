"""What may be stored: names, sizes and times. A refusal happens before anything is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic import ValidationError

from redis_sessions.errors import InvalidInputError, TooLargeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

SESSION_ID_MAX_BYTES = 2_048
FLOW_ID_MAX_BYTES = 128
OWNER_MAX_BYTES = 128
LARGEST_COUNT = 2**53
"""Redis takes no more than 64 bits; nothing is that long."""


def session_id(value: str | UUID) -> str:
    """A session id: 1 to 2,048 bytes of UTF-8 without NUL.

    Raises:
        InvalidInputError
    """
    return _name("a session id", value, SESSION_ID_MAX_BYTES)


def flow_id(value: str | UUID) -> str:
    """A flow id: 1 to 128 bytes of UTF-8 without NUL or braces (it is a key's hash tag).

    Raises:
        InvalidInputError
    """
    text = _name("a flow id", value, FLOW_ID_MAX_BYTES)
    if "{" in text or "}" in text:
        msg = "a flow id has no braces"
        raise InvalidInputError(msg)
    return text


def owner(value: str | UUID) -> str:
    """An owner: 1 to 128 bytes of UTF-8 without NUL.

    Raises:
        InvalidInputError
    """
    return _name("an owner", value, OWNER_MAX_BYTES)


def vertex_id(value: str) -> str:
    """A vertex id: 1 to 2,048 bytes of UTF-8 without NUL.

    Raises:
        InvalidInputError
    """
    return _name("a vertex id", value, SESSION_ID_MAX_BYTES)


def job_id(value: str) -> str:
    """A job id: 1 to 128 bytes of UTF-8 without NUL.

    Raises:
        InvalidInputError
    """
    return _name("a job id", value, FLOW_ID_MAX_BYTES)


def _name(what: str, value: str | UUID, most: int) -> str:
    if type(value) is not str and not isinstance(value, str | UUID):
        msg = f"{what} is text or a UUID"
        raise InvalidInputError(msg)
    text = str(value)
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        msg = f"{what} is text without lone surrogates"
        raise InvalidInputError(msg) from None
    if not 1 <= size <= most:
        msg = f"{what} is 1 to {most:,} bytes of UTF-8; this is {size:,}"
        raise InvalidInputError(msg)
    if "\x00" in text:
        msg = f"{what} has no NUL character"
        raise InvalidInputError(msg)
    return text


def count(name: str, value: int, least: int) -> int:
    """A whole number of at least ``least``.

    Raises:
        InvalidInputError
    """
    if type(value) is not int or not least <= value <= LARGEST_COUNT:
        msg = f"{name} is a whole number of at least {least}, and at most 2^53"
        raise InvalidInputError(msg)
    return value


def text_size(text: str, most: int) -> None:
    """Raises TooLargeError when the text's UTF-8 is over ``most`` bytes."""
    if len(text) * 4 <= most:
        return
    size = len(text.encode("utf-8", "replace"))
    if size > most:
        msg = f"the text is {size:,} bytes; max_text_bytes is {most:,}"
        raise TooLargeError(msg)


def body_size(body: bytes, most: int) -> bytes:
    """Raises TooLargeError when a stored body is over ``most`` bytes."""
    if len(body) > most:
        msg = f"the message is {len(body):,} bytes with all its fields; max_message_bytes is {most:,}"
        raise TooLargeError(msg)
    return body


def validated(model: type[BaseModel], fields: Mapping[str, Any]) -> Any:
    """``model(**fields)``.

    Raises:
        InvalidInputError: names the fields that are wrong and how; no value is repeated.
    """
    try:
        return model(**fields)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}"
            for item in error.errors(include_input=False, include_url=False, include_context=False)
        )
        msg = f"not a {model.__name__}: {problems}"
        raise InvalidInputError(msg) from None
