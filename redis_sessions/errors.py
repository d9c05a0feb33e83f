"""Every error this package raises.

::

    RedisSessionsError
    ├── InvalidInputError (ValueError)      an argument is not acceptable; nothing changed
    │   ├── InvalidCursorError              not a cursor of this package
    │   ├── InvalidTimestampError           naive, before 1970, or too far ahead of Redis's clock
    │   └── TooLargeError                   a text, message or batch is over its limit
    ├── NotFoundError (LookupError)         what the call names is not there; nothing changed
    │   ├── MessageNotFoundError
    │   └── SessionNotFoundError
    ├── ConflictError                       what is stored forbids the write; nothing changed
    │   ├── OwnerMismatchError              the flow belongs to somebody else
    │   ├── MessageExistsError              a message with this explicit id is there already
    │   ├── MergeTooLargeError              a merge over the configured limit
    │   └── ContentionError                 others changed the same thing faster, until the deadline
    ├── FeedGapError                        a watcher fell behind the feed's cap: read the state afresh
    ├── BatchError                          some sessions of a batch were stored and others were not
    ├── ConfigurationError (ValueError)     settings or a URL that cannot work
    │   ├── UnsupportedFormatError          a later version of this package stored the data
    │   ├── UnsupportedServerError          the server is too old, or not one this package runs on
    │   └── MissingExtraError               an optional dependency is not installed
    ├── StoreClosedError                    the store was closed, or never opened
    ├── WrongTypeError                      one of our keys holds another Redis type
    └── StoreUnavailableError               Redis did not do it; see ``write_may_have_happened``
        ├── AuthenticationError             wrong user or password, or a command the ACL forbids
        ├── TLSError                        no trust between client and server
        ├── NotReplicatedError              the write happened, and too few replicas have it yet
        ├── OutOfMemoryError                Redis is at its ``maxmemory`` and refused the write
        └── ReadOnlyError                   only a replica, or a server that cannot persist, answered

An error says what happened, whether the write may have happened, and what to do. No text of a
message and no credential is ever part of one. The cause (redis-py's own exception) is in
``__cause__``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redis_sessions.models import Message


class RedisSessionsError(Exception):
    """Base of every error of this package."""


class InvalidInputError(RedisSessionsError, ValueError):
    """An argument is not acceptable. Nothing was sent to Redis, or nothing was changed there."""


class InvalidCursorError(InvalidInputError):
    """``before=`` or ``after=`` is not a cursor that this package gave out."""


class InvalidTimestampError(InvalidInputError):
    """A timestamp is naive, before 1970, or further ahead of Redis's clock than ``max_ahead``."""


class TooLargeError(InvalidInputError):
    """A text, a whole message or a batch is over its configured limit."""


class NotFoundError(RedisSessionsError, LookupError):
    """What the call names is not there. Nothing was changed."""


class MessageNotFoundError(NotFoundError):
    """No message has this id in the flows that were looked at."""


class SessionNotFoundError(NotFoundError):
    """The flow has no session of this id."""


class ConflictError(RedisSessionsError):
    """What is stored forbids the write. Nothing was changed."""


class OwnerMismatchError(ConflictError):
    """The flow belongs to another owner than the one that the write names."""


class MessageExistsError(ConflictError):
    """A message with this explicit id is already in the flow. Use ``update`` to change it."""


class MergeTooLargeError(ConflictError):
    """The two sessions together are over ``max_merge`` entries (or were merged too many times)."""


class ContentionError(ConflictError):
    """Other writers changed the same message or session on every attempt until the deadline."""


class FeedGapError(RedisSessionsError):
    """The change feed no longer reaches back to the watcher's place; read the state, then watch anew.

    ``resume_after`` is the place from which watching can go on without a further gap.
    """

    def __init__(self, message: str, *, resume_after: str) -> None:
        super().__init__(message)
        self.resume_after = resume_after

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.args, {"resume_after": self.resume_after})


class BatchError(RedisSessionsError):
    """Some sessions of a batch were stored and others were not (each session is all or nothing).

    ``stored`` holds the messages that are in Redis; ``failed`` maps the id of each other session to
    the error that kept it out.
    """

    def __init__(
        self, message: str, *, stored: Sequence[Message], failed: Mapping[str, RedisSessionsError]
    ) -> None:
        super().__init__(message)
        self.stored: list[Message] = list(stored)
        self.failed: dict[str, RedisSessionsError] = dict(failed)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.args, {"stored": self.stored, "failed": self.failed})


class ConfigurationError(RedisSessionsError, ValueError):
    """Settings, or a URL, that cannot work."""


class UnsupportedFormatError(ConfigurationError):
    """The data is of a later format than this version of the package knows. Nothing was changed."""


class UnsupportedServerError(ConfigurationError):
    """The server is too old, or lacks what this package needs."""


class MissingExtraError(ConfigurationError):
    """An optional dependency is needed and is not installed; the text names the extra."""


class StoreClosedError(RedisSessionsError):
    """The store was closed, or is used outside ``async with``."""


class WrongTypeError(RedisSessionsError):
    """One of this package's keys holds another Redis type. Nothing was changed."""


class StoreUnavailableError(RedisSessionsError):
    """Redis did not carry out the call within its deadline, or refused it.

    ``write_may_have_happened`` is True when a write was sent and its outcome is unknown. It is always
    False for reads and for calls that never reached Redis.
    """

    def __init__(self, message: str, *, write_may_have_happened: bool = False) -> None:
        super().__init__(message)
        self.write_may_have_happened = write_may_have_happened


class AuthenticationError(StoreUnavailableError):
    """Redis does not accept the user or password, or its ACL forbids a command that is needed."""


class TLSError(StoreUnavailableError):
    """The TLS handshake failed: no trusted certificate, a wrong name, or no TLS at the other end."""


class NotReplicatedError(StoreUnavailableError):
    """The write **was carried out**, but is not yet as safe as ``wait_replicas`` and ``wait_aof`` ask.

    Repeating it would store it twice. It becomes safe when the replicas catch up; if the primary is lost
    before, it may be lost too. ``write_may_have_happened`` is True, always.

    Attributes:
        replicas: how many have it.
        wanted: how many should.
    """

    def __init__(
        self, message: str, *, write_may_have_happened: bool = True, replicas: int = 0, wanted: int = 0
    ) -> None:
        super().__init__(message, write_may_have_happened=write_may_have_happened)
        self.replicas = replicas
        self.wanted = wanted


class OutOfMemoryError(StoreUnavailableError):
    """Redis is at its ``maxmemory`` and refused the write; nothing was changed."""


class ReadOnlyError(StoreUnavailableError):
    """Only a read-only replica, or a server that refuses writes, answered until the deadline."""


def _rebuild(
    kind: type[RedisSessionsError], args: tuple[object, ...], options: dict[str, object]
) -> RedisSessionsError:
    """Unpickle an error with keyword-only arguments."""
    return kind(*args, **options)
