"""Which Redis a flow may name."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from lfx.utils.ssrf_protection import SSRFProtectionError

from redis_sessions import ConfigurationError
from redis_sessions.blocking import SessionStore
from redis_sessions.langflow.extension.destination import destination
from tests.support.servers import valkey_server

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _rules_of_a_fresh_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SSRF_PROTECTION_ENABLED", "SSRF_ALLOWED_HOSTS", "CONNECTOR_SSRF_VALIDATION_ENABLED"):
        monkeypatch.delenv(f"LANGFLOW_{name}", raising=False)


@pytest.mark.parametrize(
    "url",
    [
        "redis://169.254.169.254:6379/0",
        "redis://10.0.0.5",
        "rediss://192.168.1.1/0",
        "redis://[fd00::1]:6379",
        "redis://[::ffff:10.0.0.5]:6379",
        "redis+cluster://8.8.8.8,10.0.0.5",
        "redis+sentinel://10.0.0.5/primary",
        "redis://0.0.0.0",
        "unix:///run/redis.sock",
        "embedded:///var/lib/redis-sessions",
        "rediss://8.8.8.8/0?ssl_keyfile=/etc/ssl/key.pem",
    ],
)
def test_a_forbidden_place_is_refused(url: str) -> None:
    with pytest.raises(SSRFProtectionError):
        destination(url)


@pytest.mark.parametrize(
    "url", ["redis://localhost:6379/0", "redis://127.0.0.1", "redis://8.8.8.8", "memory://"]
)
def test_another_is_not(url: str) -> None:
    assert destination(url).url.get_secret_value() == url  # type: ignore[union-attr]


def test_loopback_is_refused_where_the_server_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGFLOW_CONNECTOR_SSRF_ALLOW_LOOPBACK", "false")

    with pytest.raises(SSRFProtectionError):
        destination("redis://localhost:6379/0")


def test_a_host_that_the_server_allows_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGFLOW_SSRF_ALLOWED_HOSTS", "10.0.0.0/8")

    destination("redis://10.0.0.5")


def test_what_the_server_has_for_its_own_redis_is_not_sent_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret = tmp_path / "password"
    secret.write_text("S3cret")
    own = {
        "URL": "redis://own",
        "USERNAME": "server",
        "PASSWORD": "S3cret",
        "PASSWORD_FILE": str(secret),
        "TLS_CERT_FILE": str(secret),
        "SENTINEL_PASSWORD": "S3cret",
    }
    for name, value in own.items():
        monkeypatch.setenv(f"REDIS_SESSIONS_{name}", value)
    monkeypatch.setenv("REDIS_SESSIONS_MAX_MESSAGES", "10")

    settings = destination("redis://8.8.8.8")

    given = {name: getattr(settings, name.lower()) for name in own if name != "URL"}
    assert set(given.values()) == {None}
    assert settings.max_messages == 10  # a limit of the server's counts for all


def test_without_a_url_it_is_the_servers_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_SESSIONS_URL", "redis://10.0.0.5")
    monkeypatch.setenv("REDIS_SESSIONS_PASSWORD", "S3cret")

    settings = destination("", ttl=60, prefix="mine")

    assert settings.password.get_secret_value() == "S3cret"  # type: ignore[union-attr]
    assert (settings.ttl, settings.prefix) == (timedelta(minutes=1), "mine")


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ({"url": ""}, "enter a Redis URL"),
        ({"url": "", "password": "S3cret"}, "needs a Redis URL"),
        ({"url": "localhost:6379"}, "no scheme"),
        ({"url": "redis://ada:S3cr@t/x@localhost"}, "percent-encode"),
        ({"url": "redis://localhost", "prefix": "{x}"}, "prefix"),
        ({"url": "redis://localhost", "ttl": -1}, "number of seconds"),
    ],
)
def test_what_cannot_work_is_told_without_secrets(given: dict[str, Any], hint: str) -> None:
    with pytest.raises(ConfigurationError, match=hint) as caught:
        destination(**given)
    assert "S3cr" not in str(caught.value)


def test_a_password_may_have_any_characters() -> None:
    with valkey_server(requirepass="p@ss/w#rd?%41 {x}") as server:
        settings = destination(f"redis://127.0.0.1:{server.port}", password="p@ss/w#rd?%41 {x}")

        with SessionStore(settings) as store:
            store.ping()
