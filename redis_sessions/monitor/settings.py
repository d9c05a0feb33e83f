"""Settings of the monitor: arguments first, then ``REDIS_SESSIONS_MONITOR_*``, then the defaults."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from redis_sessions.errors import ConfigurationError
from redis_sessions.monitor.access import KeyAccess, OpenAccess
from redis_sessions.monitor.langflow_access import LangflowAccess

if TYPE_CHECKING:
    from redis_sessions.monitor.access import Access
    from redis_sessions.store import SessionStore

_ORIGIN = re.compile(r"https?://[^/\s?#@*]+\Z")
_KEY = re.compile(r"(sha256:[0-9a-fA-F]{64})[\s=]+(\S.*)\Z")


class MonitorSettings(BaseSettings):
    """Who may use the monitor, from where, and how much of it.

    Each field is also an environment variable: ``REDIS_SESSIONS_MONITOR_`` and its name in capitals.
    """

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        env_prefix="REDIS_SESSIONS_MONITOR_",
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    access: Literal["open", "keys", "langflow"] = Field(
        default="open", description="who gets in: everybody on this machine, API keys, or Langflow's users"
    )
    keys: Annotated[dict[str, str], NoDecode] = Field(
        default_factory=dict,
        description="API keys by hash, with their owners: sha256:…=owner, …",
    )
    keys_file: Path | None = Field(default=None, description="file of such lines: sha256:… owner")
    langflow_url: str | None = Field(default=None, description="the Langflow that knows the users")
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="origins whose pages may read answers, or *; unset: none",
    )
    rate_limit: str | None = Field(
        default=None, description="requests of one caller, as 600/minute; several with ;"
    )
    max_body_bytes: Annotated[int, Field(ge=1)] = Field(
        default=8 * 1024 * 1024, description="longest request body; room for a message with all escaped"
    )
    max_header_bytes: Annotated[int, Field(ge=1_024)] = Field(
        default=32 * 1024, description="all headers of a request together"
    )
    max_target_bytes: Annotated[int, Field(ge=1_024)] = Field(
        default=32 * 1024, description="path and query of a request together"
    )
    max_streams: Annotated[int, Field(ge=0)] = Field(
        default=10_000, description="live feeds that one process keeps open"
    )
    stream_keep_alive: Annotated[float, Field(ge=0.05)] = Field(
        default=15, description="seconds between comments on a live feed, for what closes silent connections"
    )
    stream_check: Annotated[float, Field(ge=0.05)] = Field(
        default=15, description="seconds between looks whether its reader may still see the flow"
    )
    stream_patience: Annotated[float, Field(ge=0.05)] = Field(
        default=10, description="seconds that a reader may take nothing before it is cut off"
    )

    @field_validator("keys", mode="before")
    @classmethod
    def _parse_keys(cls, value: object) -> object:
        return parse_keys(value, separators=r"[,\n]") if isinstance(value, str) else value

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _parse_origins(cls, value: object) -> object:
        return [part for part in re.split(r"[,\s]+", value) if part] if isinstance(value, str) else value

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if value != ("*",) and not all(_ORIGIN.match(origin) for origin in value):
            msg = "an origin is https://host or https://host:port, without a path; or only *"
            raise ValueError(msg)
        return value

    @field_validator("langflow_url")
    @classmethod
    def _check_url(cls, value: str | None) -> str | None:
        if value is not None:
            parts = urlsplit(value)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                msg = "Langflow's URL is like http://127.0.0.1:7860"
                raise ValueError(msg)
        return value

    @field_validator("rate_limit")
    @classmethod
    def _check_rate(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                from limits import parse_many
            except ImportError:
                msg = "needs limits: pip install 'redis-sessions[monitor]'"
                raise ValueError(msg) from None
            try:
                parse_many(value)
            except ValueError:
                msg = "a rate limit is like 600/minute, or 20/second;10000/hour"
                raise ValueError(msg) from None
        return value

    @classmethod
    def load(cls, **options: Any) -> MonitorSettings:
        """Settings from ``options`` (by field name; None is not given), the environment for the rest.

        Raises:
            ConfigurationError: an option is unknown or its value cannot work; no value is repeated.
        """
        try:
            return cls(**{name: value for name, value in options.items() if value is not None})
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(str(part) for part in item['loc'])}: {item['msg'].removeprefix('Value error, ')}"
                for item in error.errors(include_input=False, include_url=False, include_context=False)
            )
            raise ConfigurationError(f"unusable settings of the monitor: {problems}") from None


def parse_keys(text: str, *, separators: str = "\n") -> dict[str, str]:
    """Hash and owner of each key; empty lines, and those that begin with ``#``, are passed over.

    Raises:
        ValueError: a line is neither. The line is named by its number, never repeated.
    """
    keys = {}
    for number, line in enumerate(re.split(separators, text), 1):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        found = _KEY.match(entry)
        if found is None:
            msg = f"entry {number} is no key's hash and owner: redis-sessions key new makes such a line"
            raise ValueError(msg)
        keys[found[1].lower()] = found[2]
    return keys


def configured_access(settings: MonitorSettings, store: SessionStore) -> Access:
    """The access that the settings describe.

    Raises:
        ConfigurationError: what it needs is missing or cannot be read.
        MissingExtraError: a package that it needs is not installed.
    """
    match settings.access:
        case "keys":
            keys = {**settings.keys, **_keys_of_file(settings.keys_file)}
            if not keys:
                msg = (
                    "no API key is configured: make one with redis-sessions key new, and name the file with "
                    "its line in REDIS_SESSIONS_MONITOR_KEYS_FILE or --keys-file"
                )
                raise ConfigurationError(msg)
            return KeyAccess(store, keys)
        case "langflow":
            if settings.langflow_url is None:
                msg = "access langflow needs Langflow's URL: set REDIS_SESSIONS_MONITOR_LANGFLOW_URL"
                raise ConfigurationError(msg)
            return LangflowAccess(store, settings.langflow_url)
        case _:
            return OpenAccess(store)


def _keys_of_file(path: Path | None) -> dict[str, str]:
    if path is None:
        return {}
    try:
        return parse_keys(path.read_text())
    except OSError as error:
        msg = f"the file of API keys cannot be read: {error.strerror or type(error).__name__}: {path}"
    except UnicodeDecodeError:
        msg = f"the file of API keys is not text: {path}"
    except ValueError as error:
        msg = f"the file of API keys cannot be used: {error}: {path}"
    raise ConfigurationError(msg)
