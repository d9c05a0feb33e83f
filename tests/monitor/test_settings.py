"""Settings of the monitor, and the access that they describe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from redis_sessions.errors import ConfigurationError
from redis_sessions.monitor import (
    KeyAccess,
    LangflowAccess,
    MonitorSettings,
    OpenAccess,
    configured_access,
    hash_key,
)

if TYPE_CHECKING:
    from pathlib import Path

    from redis_sessions.store import SessionStore

SECRET = "s3cret"


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = [hash_key("one"), hash_key("two")]
    for name, value in {
        "ACCESS": "keys",
        "KEYS": f"{hashes[0]}=ann, {hashes[1]} ben b",
        "CORS_ORIGINS": "https://a.example, http://localhost:3000",
        "RATE_LIMIT": "600/minute",
        "MAX_BODY_BYTES": "1000",
    }.items():
        monkeypatch.setenv(f"REDIS_SESSIONS_MONITOR_{name}", value)

    settings = MonitorSettings.load()
    assert settings.keys == {hashes[0]: "ann", hashes[1]: "ben b"}
    assert settings.cors_origins == ("https://a.example", "http://localhost:3000")
    assert (settings.access, settings.rate_limit, settings.max_body_bytes) == ("keys", "600/minute", 1_000)
    assert MonitorSettings.load(access="open").access == "open"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("access", SECRET),
        ("keys", SECRET),
        ("keys", f"sha256:{SECRET}=ann"),
        ("cors_origins", SECRET),
        ("cors_origins", f"https://{SECRET}.example/path"),
        ("cors_origins", "*,https://a.example"),
        ("langflow_url", SECRET),
        ("rate_limit", SECRET),
        ("max_body_bytes", SECRET),
        ("max_streams", -1),
        ("unknown", SECRET),
    ],
)
def test_what_cannot_work_is_refused_and_not_repeated(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        MonitorSettings.load(**{name: value})
    assert name in str(caught.value)
    assert SECRET not in str(caught.value)


async def test_access_is_what_the_settings_say(memory_store: SessionStore, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# Ann's laptop\n\n{hash_key('one')} ann\n")
    assert isinstance(configured_access(MonitorSettings(), memory_store), OpenAccess)
    by_file = configured_access(MonitorSettings(access="keys", keys_file=file), memory_store)
    assert isinstance(by_file, KeyAccess)
    asking = configured_access(
        MonitorSettings(access="langflow", langflow_url="http://127.0.0.1:7860"), memory_store
    )
    assert isinstance(asking, LangflowAccess)
    await asking.aclose()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"access": "langflow"}, "LANGFLOW_URL"),
        ({"access": "keys"}, "no API key"),
        ({"access": "keys", "keys_file": "missing"}, "cannot be read"),
        ({"access": "keys", "keys_file": "wrong"}, "entry 2"),
        ({"access": "keys", "keys_file": "binary"}, "is not text"),
    ],
)
async def test_what_an_access_lacks_is_said(
    memory_store: SessionStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    problem: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wrong").write_text(f"{hash_key('one')} ann\n{SECRET}\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")

    with pytest.raises(ConfigurationError, match=problem) as caught:
        configured_access(MonitorSettings.load(**options), memory_store)
    assert SECRET not in str(caught.value)
