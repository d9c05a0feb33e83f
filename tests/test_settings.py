from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from redis_sessions import SessionStore
from redis_sessions.blocking import SessionStore as BlockingStore
from redis_sessions.errors import ConfigurationError
from redis_sessions.settings import PREFIX_MAX_BYTES, Settings

SECRET = "s3cret"  # in every value that must not be repeated
SECRETS = ["url", "password", "sentinel_password"]
BAD_VALUES = [
    ("url", {SECRET: 1}),
    ("password", [SECRET]),
    ("sentinel_password", {SECRET: 1}),
    ("username", [SECRET]),
    ("password_file", [SECRET]),
    ("prefix", "{" + SECRET),
    ("prefix", SECRET + "}"),
    ("prefix", SECRET + "\x00"),
    ("prefix", SECRET + "\ud800"),
    ("prefix", SECRET * 30),
    ("max_connections", SECRET),
    ("max_messages", SECRET),
    ("max_batch", SECRET),
    ("deadline", SECRET),
    ("ttl", SECRET),
    ("max_ahead", SECRET),
    ("feed_ttl", SECRET),
]
OUT_OF_RANGE = [
    ("prefix", ""),
    ("prefix", "é" * (PREFIX_MAX_BYTES // 2 + 1)),
    ("max_connections", 0),
    ("deadline", 0),
    ("deadline", -1),
    ("ttl", 0),
    ("ttl", timedelta(microseconds=999)),
    ("max_messages", 0),
    ("max_text_bytes", 0),
    ("max_message_bytes", -1),
    ("max_batch", 0),
    ("max_batch", 10_001),
    ("max_merge", -1),
    ("max_ahead", timedelta(0)),
    ("feed_max_events", 0),
    ("feed_ttl", float("nan")),
]


@pytest.mark.parametrize("kind", [SessionStore, BlockingStore])
def test_a_store_that_is_given_a_url_says_what_takes_one(kind: Any) -> None:
    with pytest.raises(TypeError, match=r"SessionStore\.from_url\(url\)") as caught:
        kind(f"redis://:{SECRET}@localhost")
    assert SECRET not in str(caught.value)


def test_nothing_given_means_the_defaults() -> None:
    assert Settings.load() == Settings.model_construct()


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_has_a_description(name: str) -> None:
    assert Settings.model_fields[name].description


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("REDIS_SESSIONS_USERNAME", "langflow", "langflow"),
        ("REDIS_SESSIONS_PREFIX", "chats", "chats"),
        ("REDIS_SESSIONS_MAX_BATCH", "7", 7),
        ("REDIS_SESSIONS_TTL", "3600", timedelta(hours=1)),
        ("REDIS_SESSIONS_DEADLINE", "0.5", timedelta(milliseconds=500)),
        ("REDIS_SESSIONS_FEED_TTL", "PT5M", timedelta(minutes=5)),
    ],
)
def test_a_setting_comes_from_the_environment(
    variable: str, text: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, text)

    assert getattr(Settings.load(), variable.removeprefix("REDIS_SESSIONS_").lower()) == value


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_comes_from_the_environment_as_it_is(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"REDIS_SESSIONS_{name.upper()}", "p@ss/w#rd:%41")

    assert getattr(Settings.load(), name).get_secret_value() == "p@ss/w#rd:%41"


def test_an_argument_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_SESSIONS_PREFIX", "environment")

    assert Settings.load(prefix="argument").prefix == "argument"


def test_a_url_argument_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_SESSIONS_URL", "redis://environment")
    url = Settings.load("redis://argument").url

    assert url is not None
    assert url.get_secret_value() == "redis://argument"


def test_what_no_argument_names_still_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_SESSIONS_MAX_BATCH", "7")

    assert Settings.load(prefix="argument").max_batch == 7


def test_an_argument_that_is_none_leaves_the_environment_its_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_SESSIONS_PREFIX", "environment")

    assert Settings.load(prefix=None).prefix == "environment"


def test_other_variables_of_the_environment_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFIX", "somebody else's")
    monkeypatch.setenv("REDIS_SESSIONS_OF_ANOTHER_PROGRAM", "1")

    assert Settings.load() == Settings.model_construct()


@pytest.mark.parametrize(("name", "value"), OUT_OF_RANGE)
def test_a_value_out_of_range_is_refused_by_the_name_of_its_setting(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=f"settings: {name}: "):
        _load(name, value)


@pytest.mark.parametrize(("name", "value"), BAD_VALUES)
def test_a_bad_value_is_refused_and_never_repeated(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=f"settings: {name}: ") as caught:
        _load(name, value)

    assert SECRET not in _everything_printed(caught.value)


@pytest.mark.parametrize("name", ["max_batch", "ttl", "deadline", "max_connections"])
def test_a_bad_value_of_the_environment_is_never_repeated_either(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"REDIS_SESSIONS_{name.upper()}", SECRET)

    with pytest.raises(ConfigurationError, match=f"settings: {name}: ") as caught:
        Settings.load()

    assert SECRET not in _everything_printed(caught.value)


def test_an_unknown_option_is_refused_by_its_name() -> None:
    with pytest.raises(ConfigurationError, match=r"max_mesages: ") as caught:
        Settings.load(max_mesages=SECRET)

    assert SECRET not in _everything_printed(caught.value)


def test_every_bad_value_is_named_at_once() -> None:
    with pytest.raises(ConfigurationError, match=r"prefix: .*; max_batch: "):
        Settings.load(prefix="", max_batch=0)


@pytest.mark.parametrize("show", [repr, str, Settings.model_dump_json, Settings.model_dump])
@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_not_shown(name: str, show: Any) -> None:
    settings = Settings.load(**{name: f"redis://user:{SECRET}@localhost"})

    assert SECRET not in str(show(settings))


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings.load().prefix = "other"


def _load(name: str, value: Any) -> Settings:
    return Settings.load(**{name: value})


def _everything_printed(error: BaseException | None) -> str:
    """The error as a traceback prints it, with the errors before it."""
    parts = []
    while error is not None:
        parts.append(f"{error!r} {error}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n".join(parts)
