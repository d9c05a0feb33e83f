"""The options that commands share, and the settings that come of them.

An option may stand before the command or behind it; the latter wins, then the environment, then the default.
"""

# No `from __future__ import annotations` in the files of commands: typer reads the annotations.

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Self

import typer

from redis_sessions.errors import ConfigurationError

if TYPE_CHECKING:
    from redis_sessions.settings import Settings

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="Where Redis is, as in redis://host:6379/0. Better in REDIS_SESSIONS_URL: other users of the "
        "machine can see options. Without either: the embedded store that `serve` made here.",
        show_default=False,
    ),
]
Prefix = Annotated[
    str | None,
    typer.Option(
        "--prefix",
        metavar="TEXT",
        help="First part of every key (REDIS_SESSIONS_PREFIX; default: rs).",
        show_default=False,
    ),
]
Deadline = Annotated[
    float | None,
    typer.Option(
        "--deadline",
        metavar="SECONDS",
        help="How long a call may take, retries included (REDIS_SESSIONS_DEADLINE; default: 5).",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
Flow = Annotated[str, typer.Argument(metavar="FLOW", help="The flow's id.", show_default=False)]

DEFAULT_URL = "embedded://"


@dataclass(frozen=True)
class Where:
    """The options that say where Redis is."""

    url: str | None = None
    prefix: str | None = None
    deadline: float | None = None

    @classmethod
    def of(cls, ctx: typer.Context, url: str | None, prefix: str | None, deadline: float | None) -> Self:
        """A command's own options, and those before the command for the rest."""
        before = ctx.obj if isinstance(ctx.obj, Where) else Where()
        return cls(
            before.url if url is None else url,
            before.prefix if prefix is None else prefix,
            before.deadline if deadline is None else deadline,
        )

    def load(self, url: str | None = None) -> "Settings":
        """What the options and the environment say; ``url`` in the place of theirs.

        Raises:
            ConfigurationError: a setting cannot work.
        """
        from redis_sessions.settings import Settings

        return Settings.load(url or self.url, prefix=self.prefix, deadline=self.deadline)

    def settings(self) -> "Settings | None":
        """As :meth:`load`; None when there is no URL.

        Raises:
            ConfigurationError: a setting cannot work, or the option is empty.
        """
        if self.url is not None and not self.url.strip():
            raise ConfigurationError("--url is empty: is the variable unset that it comes from?")
        settings = self.load()
        return settings if settings.url is not None and settings.url.get_secret_value().strip() else None
