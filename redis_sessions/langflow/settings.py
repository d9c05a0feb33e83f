"""Whether the plug-in is on, and where its Redis is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar
from uuid import UUID

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from redis_sessions.errors import ConfigurationError
from redis_sessions.settings import Settings

if TYPE_CHECKING:
    from typing import Self

_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]*@")


class PluginSettings(BaseSettings):
    """The plug-in's own switches; the store's settings are those of :class:`redis_sessions.Settings`.

    The plug-in is on when ``REDIS_SESSIONS_URL`` is set and ``REDIS_SESSIONS_ENABLED`` is not false, or when
    ``REDIS_SESSIONS_ENABLED`` is true and ``LANGFLOW_REDIS_URL`` is set. ``REDIS_SESSIONS_URL`` comes first.
    """

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        env_prefix="REDIS_SESSIONS_",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        populate_by_name=True,
    )

    url: SecretStr | None = Field(default=None, description="where Redis is; switches the plug-in on")
    enabled: bool | None = Field(
        default=None, description="true: use LANGFLOW_REDIS_URL when no URL is given; false: stock Langflow"
    )
    strict: bool = Field(
        default=True, description="Langflow does not start when the plug-in cannot; false: it runs stock"
    )
    flow_id: UUID | None = Field(
        default=None, description="id of a flow that has none: of ``lfx run`` without Langflow; a UUID"
    )
    langflow_redis_url: SecretStr | None = Field(default=None, validation_alias="LANGFLOW_REDIS_URL")

    @classmethod
    def load(cls) -> Self:
        """From the environment.

        Raises:
            ConfigurationError: a value cannot work; the text names the variable and not the value.
        """
        try:
            return cls()
        except ValidationError as error:
            problems = "; ".join(
                f"REDIS_SESSIONS_{str(item['loc'][0]).upper()}: {item['msg']}" for item in error.errors()
            )
            msg = f"unusable settings: {problems}"
            raise ConfigurationError(msg) from None

    @property
    def where(self) -> str | None:
        """The URL to use, with its credentials; None when the plug-in is off."""
        if self.enabled is False:
            return None
        if self.url is not None:
            return self.url.get_secret_value()
        if self.enabled and self.langflow_redis_url is not None:
            return self.langflow_redis_url.get_secret_value()
        return None

    @property
    def safe_where(self) -> str:
        """The URL without credentials and query; fit for logs."""
        return _CREDENTIALS.sub("", (self.where or "").partition("?")[0])

    def store_settings(self) -> Settings:
        """The settings that the plug-in's stores are opened with.

        Raises:
            ConfigurationError: one of them cannot work.
        """
        return Settings.load(self.where)
