"""Settings: arguments first, then ``REDIS_SESSIONS_*`` from the environment, then the defaults."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from redis_sessions.errors import ConfigurationError

PREFIX_MAX_BYTES = 128


class Settings(BaseSettings):
    """How to reach Redis, and the limits of the store.

    Each field is also an environment variable: ``REDIS_SESSIONS_`` and its name in capitals.
    Durations are seconds there (``5``, ``0.5``) or ISO 8601 (``PT5S``).
    """

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        env_prefix="REDIS_SESSIONS_",
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    url: SecretStr | None = Field(
        default=None, description="where Redis is; docs/configuration.md lists the schemes"
    )
    username: str | None = Field(default=None, description="ACL user; overrides the URL's")
    password: SecretStr | None = Field(default=None, description="plain; overrides the URL's")
    password_file: Path | None = Field(default=None, description="file whose first line is the password")
    tls_ca_file: Path | None = Field(default=None, description="CA certificates to trust, PEM")
    tls_cert_file: Path | None = Field(default=None, description="client certificate, PEM")
    tls_key_file: Path | None = Field(default=None, description="key of the client certificate, PEM")
    sentinel_username: str | None = Field(default=None, description="ACL user of the Sentinels")
    sentinel_password: SecretStr | None = Field(default=None, description="password of the Sentinels")
    max_connections: Annotated[int, Field(ge=1)] = Field(
        default=50, description="connections a process opens at the most (per node in a cluster)"
    )

    prefix: str = Field(default="rs", description="first part of every key; no braces, 1 to 128 bytes")
    deadline: timedelta = Field(
        default=timedelta(seconds=5), description="how long a call may take, retries included"
    )
    wait_replicas: Annotated[int, Field(ge=0)] = Field(
        default=0, description="replicas that must have a write before it is acknowledged"
    )
    wait_aof: bool = Field(
        default=False,
        description="a write must also be on the disks of the primary and of these replicas (their AOF)",
    )
    ttl: timedelta | None = Field(
        default=None, description="a session goes this long after its last write; unset: never"
    )
    max_messages: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="messages a session keeps; older ones are trimmed; unset: all"
    )
    max_text_bytes: Annotated[int, Field(ge=1)] = Field(
        default=1024 * 1024, description="longest text of a message, UTF-8"
    )
    max_message_bytes: Annotated[int, Field(ge=1)] = Field(
        default=1024 * 1024, description="largest stored body of a message, all fields together"
    )
    max_batch: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=500, description="messages of one session in one append_many call"
    )
    max_batch_bytes: Annotated[int, Field(ge=1)] = Field(
        default=2 * 1024 * 1024, description="bodies of such messages together, where they are several"
    )
    max_merge: Annotated[int, Field(ge=0)] = Field(
        default=10_000, description="entries of both sessions together that a merge may touch"
    )
    max_transactions: Annotated[int, Field(ge=1)] = Field(
        default=3_000, description="component runs that a flow keeps; older ones are trimmed"
    )
    max_ahead: timedelta = Field(
        default=timedelta(days=1), description="how far ahead of Redis's clock a timestamp may be"
    )
    otel: bool = Field(default=False, description="OpenTelemetry spans and metrics; needs the extra `otel`")
    feed_max_events: Annotated[int, Field(ge=1)] = Field(
        default=10_000, description="events that a flow's change feed keeps (approximately)"
    )
    feed_ttl: Annotated[timedelta, Field(ge=timedelta(minutes=1))] = Field(
        default=timedelta(days=1), description="a feed goes this long after the flow's last write"
    )

    @field_validator("prefix")
    @classmethod
    def _check_prefix(cls, value: str) -> str:
        # A lone surrogate has no UTF-8; "replace" makes it a question mark, which no check needs to name.
        size = len(value.encode("utf-8", "replace"))
        whole = value.encode("utf-8", "replace").decode() == value
        if not whole or not 1 <= size <= PREFIX_MAX_BYTES or set("{}\x00") & set(value):
            msg = f"a prefix is 1 to {PREFIX_MAX_BYTES} bytes of UTF-8 without braces or NUL"
            raise ValueError(msg)
        if "owner" in value.split(":")[1:]:
            msg = "a prefix has no ':owner': there a store with the shorter prefix keeps who owns what"
            raise ValueError(msg)
        return value

    @field_validator("deadline", "ttl", "max_ahead", "feed_ttl", mode="before")
    @classmethod
    def _seconds(cls, value: object) -> object:
        if isinstance(value, str):
            try:
                return float(value)
            except ValueError:
                return value  # ISO 8601
        return value

    @field_validator("deadline", "ttl", "max_ahead", "feed_ttl")
    @classmethod
    def _check_duration(cls, value: timedelta | None) -> timedelta | None:
        if value is not None and value < timedelta(milliseconds=1):
            msg = "a duration is at least one millisecond"
            raise ValueError(msg)
        return value

    @classmethod
    def load(cls, url: str | None = None, **options: Any) -> Settings:
        """Settings from ``options`` (by field name), the environment for the rest.

        Raises:
            ConfigurationError: an option is unknown or its value cannot work. The text names the
                option and never repeats a value, which could be a secret.
        """
        given = {name: value for name, value in options.items() if value is not None}
        if url is not None:
            given["url"] = url
        try:
            return cls(**given)
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(str(part) for part in item['loc'])}: {item['msg'].removeprefix('Value error, ')}"
                for item in error.errors(include_input=False, include_url=False, include_context=False)
            )
            raise ConfigurationError(f"unusable settings: {problems}") from None


def settings_of(given: Settings | None) -> Settings:
    """What a store is made with: these settings, or those of the environment.

    Raises:
        TypeError: it is something else; a URL, most likely.
    """
    if given is None:
        return Settings.load()
    if not isinstance(given, Settings):
        raise TypeError(
            f"SessionStore takes Settings, not {type(given).__name__}; for a URL: SessionStore.from_url(url)"
        )
    return given
