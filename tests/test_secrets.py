"""The watch over all logs (``tests/support/secrets.py``) sees a password that gets into one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYTEST = ("-m", "pytest", "-p", "no:cacheprovider", "-p", "xdist")
CONFTEST = """
from tests.support.secrets import pytest_runtest_makereport, pytest_sessionfinish, pytest_sessionstart
"""
BEGINNING = """
import logging, sys
import pytest
from redis_sessions import Settings
from redis_sessions.credentials import data_credentials
from redis_sessions.urls import parse_url
from tests.support import valkey_server
from tests.support.secrets import remember_settings

def password():
    settings = Settings.load("redis://h", password="open sesame")
    return data_credentials(parse_url("redis://h"), settings)["password"]
"""
LEAKS = {
    "a log record": "logging.getLogger('any').warning('with %s', password())",
    "its own field": "logging.getLogger('any').warning('with', extra={'more': password()})",
    "printed": "print(password())",
    "printed as an error": "sys.stderr.write(password())",
    "a URL": "Settings.load('redis://u:open%20sesame@h').url.get_secret_value(); print('open sesame')",
    "settings of another process": (
        "remember_settings({'REDIS_SESSIONS_PASSWORD': 'hush hush', 'PATH': '/bin'}); print('hush hush')"
    ),
    "a server's log": (
        "with valkey_server(requirepass='open sesame') as server:\n"
        "        (server.folder / 'log').write_text('open sesame')"
    ),
}


FINE = "assert password() == 'open sesame'"


@pytest.mark.parametrize("options", [(), ("-n", "1")], ids=["in one process", "in another"])
def test_a_test_whose_password_is_in_a_log_fails(tmp_path: Path, options: tuple[str, ...]) -> None:
    acts = [*LEAKS.values(), FINE]
    tests = "\n".join(f"def test_{number}():\n    {act}\n" for number, act in enumerate(acts))
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_it.py").write_text(f"{BEGINNING}\n{tests}")
    done = subprocess.run(
        [sys.executable, *PYTEST, "--rootdir", tmp_path, *options, tmp_path],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        check=False,
    )

    assert f"{len(LEAKS)} failed, 1 passed" in done.stdout, done.stdout
    assert done.stdout.count("\na password is in a log") == len(LEAKS)
