"""No log of the whole suite has a password that the suite used.

Passwords are noted where they are used: whatever a ``SecretStr`` gives to us (all settings with passwords are
such), what a server of the tests is started with, what the settings of another process have, and the API keys
that tests call with. Looked at are the log records of a test, what it and its fixtures print, and the logs of
its servers, of Langflow and of our own command. A test whose logs have a password fails, whichever process of
pytest-xdist runs it.

The hooks are imported by ``tests/conftest.py``.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

import pytest
from pydantic import SecretStr

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

_SHORTEST = 6
"""Shorter ones, such as "p", are in every text."""
_OURS = ("redis_sessions.", "tests.", "test_")
_secrets: set[str] = set()
_leaks: list[str] = []
_reveal = SecretStr.get_secret_value


def remember(secret: str | bytes | None) -> None:
    """Note a password, or a URL that has one: it is to be in no log from now on."""
    text = secret.decode(errors="replace") if isinstance(secret, bytes) else secret
    if text is None:
        return
    if "://" in text:
        text = _password_of(text)
    if len(text) >= _SHORTEST and not text.isspace():
        _secrets.update({text, quote(text, safe="", errors="backslashreplace")})


def remember_settings(environment: Mapping[str, str]) -> None:
    """Note what is secret in the settings that another process of ours is given."""
    for name, value in environment.items():
        if name.startswith("REDIS_SESSIONS_") and name.endswith(("PASSWORD", "URL")):
            remember(value)


def look_at(where: str, text: str) -> None:
    """Note it if a log has a password; the test that runs fails."""
    found = sum(secret in text for secret in _secrets)
    if found:
        lines = [line for line in text.splitlines() if any(secret in line for secret in _secrets)]
        _leaks.append(f"{where}: {found} passwords, the first one in: {lines[0] if lines else text!r}")


def _password_of(url: str) -> str:
    """As it stands between the user and the last @; what is no URL has none."""
    authority = url.partition("://")[2]
    before, at, _ = authority.rpartition("@")
    try:
        whole = urlsplit(url).password
    except ValueError:
        whole = None
    return unquote(whole if whole is not None else before.partition(":")[2] if at else "")


def _get_secret_value(self: SecretStr) -> str:
    value = _reveal(self)
    # What Langflow reveals to itself is its own, and often the word langflow.
    if sys._getframe(1).f_globals.get("__name__", "").startswith(_OURS):
        remember(value)
    return value


class _Listener(logging.Handler):
    """Hears every record that any logger lets through."""

    def emit(self, record: logging.LogRecord) -> None:
        text = f"{record.getMessage()} {record.__dict__}"
        if record.exc_info:
            text += logging.Formatter().formatException(record.exc_info)
        look_at(f"logger {record.name}", text)


_listener = _Listener()


def pytest_sessionstart() -> None:
    SecretStr.get_secret_value = _get_secret_value  # type: ignore[method-assign]
    logging.getLogger().addHandler(_listener)


def pytest_sessionfinish() -> None:
    SecretStr.get_secret_value = _reveal  # type: ignore[method-assign]
    logging.getLogger().removeHandler(_listener)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    report = yield
    for title, text in report.sections:
        if title.endswith(report.when):  # those of the phases before have been looked at
            look_at(title, text)
    if _leaks and report.passed:
        report.outcome = "failed"
        report.longrepr = "a password is in a log:\n" + "\n".join(_leaks)
    _leaks.clear()
    return report
