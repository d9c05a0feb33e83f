from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from pydantic import SecretStr

from redis_sessions.credentials import data_credentials, sentinel_credentials, tls_arguments
from redis_sessions.errors import ConfigurationError
from redis_sessions.settings import Settings
from redis_sessions.urls import parse_url

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "hunter2secret"
URL = "redis://urluser:urlpassword@host"
AWKWARD = "p@ss/w#rd?:%41{}[]'\"\\ \t\x00,;ü😀 "


def credentials(url: str = URL, **options: Any) -> tuple[str | None, str | None]:
    found = data_credentials(parse_url(url), Settings.load(url, **options))
    return found["username"], found["password"]


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    return tmp_path / "password"


def test_the_url_has_the_last_word_only_where_settings_are_silent() -> None:
    assert credentials() == ("urluser", "urlpassword")
    assert credentials(username="u") == ("u", "urlpassword")
    assert credentials(password="p") == ("urluser", "p")
    assert credentials(username="", password="") == ("urluser", "urlpassword")


def test_a_plain_password_may_hold_any_character() -> None:
    assert credentials(password=AWKWARD, username=AWKWARD) == (AWKWARD, AWKWARD)


@pytest.mark.parametrize("ending", ["", "\n", "\r\n", "\nsecond line\n"])
def test_a_password_file_gives_its_first_line_as_it_stands(password_file: Path, ending: str) -> None:
    password_file.write_bytes((AWKWARD + ending).encode())
    assert credentials(password_file=password_file) == ("urluser", AWKWARD)


def test_a_carriage_return_within_a_password_stays(password_file: Path) -> None:
    password_file.write_bytes(b"one\rtwo\n")
    assert credentials(password_file=password_file)[1] == "one\rtwo"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read: No such file"),
        (b"", "nothing in its first line"),
        (b"\n" + SECRET.encode(), "nothing in its first line"),
        (SECRET.encode() + b"\xff", "not UTF-8"),
    ],
)
def test_an_unusable_password_file_is_named_and_not_quoted(
    password_file: Path, content: bytes | None, problem: str
) -> None:
    if content is not None:
        password_file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=f"{password_file} .*{problem}") as caught:
        credentials(password_file=password_file)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_password_and_a_password_file_contradict_each_other(password_file: Path) -> None:
    password_file.write_text(SECRET)
    with pytest.raises(ConfigurationError, match="both set"):
        credentials(password="p", password_file=password_file)


@pytest.mark.parametrize("option", ["username", "password", "sentinel_username", "sentinel_password"])
def test_what_cannot_be_sent_is_refused_and_not_quoted(option: str) -> None:
    settings = Settings.model_construct(
        **dict(Settings.load(URL)) | {option: secret(option, SECRET + "\udcff")}
    )
    with pytest.raises(ConfigurationError, match="not UTF-8") as caught:
        data_credentials(parse_url(URL), settings), sentinel_credentials(settings)
    assert SECRET not in "".join(traceback.format_exception(caught.value)[-1:])
    assert caught.value.__suppress_context__


def secret(option: str, value: str) -> Any:
    return SecretStr(value) if "password" in option else value


def test_sentinels_get_none_of_the_servers_credentials() -> None:
    assert sentinel_credentials(Settings.load(URL)) == {"username": None, "password": None}
    settings = Settings.load(URL, sentinel_username="watcher", sentinel_password=AWKWARD)
    assert sentinel_credentials(settings) == {"username": "watcher", "password": AWKWARD}


def tls(url: str, **options: Any) -> dict[str, Any]:
    return tls_arguments(parse_url(url), Settings.load(url, **options))


def test_tls_checks_certificate_and_name_unless_the_url_says_otherwise() -> None:
    assert tls("rediss://h") == {"ssl_cert_reqs": "required", "ssl_check_hostname": True}
    assert tls("rediss://h?ssl_check_hostname=false")["ssl_check_hostname"] is False
    assert tls("rediss://h?ssl_cert_reqs=none")["ssl_cert_reqs"] == "none"


def test_without_tls_there_are_no_tls_arguments() -> None:
    assert tls("redis://h") == {}


def test_tls_files_of_the_settings_go_before_those_of_the_url(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate, key, ca = tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "ca.pem"
    issued = authority.issue_cert("client")
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    authority.cert_pem.write_to_path(ca)
    found = tls(
        "rediss://h?ssl_ca_certs=/nowhere", tls_ca_file=ca, tls_cert_file=certificate, tls_key_file=key
    )
    assert [found[name] for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")] == [
        str(ca),
        str(certificate),
        str(key),
    ]


def test_tls_files_without_tls_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="redis:// does not use TLS: use rediss://"):
        tls("redis://h", tls_ca_file=tmp_path / "ca.pem")


def test_a_key_without_its_certificate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="without tls_cert_file"):
        tls("rediss://h", tls_key_file=tmp_path / "key.pem")


@pytest.mark.parametrize("option", ["tls_ca_file", "tls_cert_file"])
@pytest.mark.parametrize(
    "content", [None, b"", b"-----BEGIN CERTIFICATE-----\nbm90IG9uZQ==\n-----END CERTIFICATE-----\n"]
)
def test_an_unusable_tls_file_is_named(tmp_path: Path, option: str, content: bytes | None) -> None:
    file = tmp_path / "file.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=f"{file} cannot be used"):
        tls("rediss://h", **{option: file})


def test_an_encrypted_key_is_refused_and_its_passphrase_not_asked_for(tmp_path: Path) -> None:
    issued = trustme.CA().issue_cert("client")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    issued.cert_chain_pems[0].write_to_path(certificate)
    private = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"passphrase"),
        )
    )
    with pytest.raises(ConfigurationError, match=r"key\.pem cannot be used"):
        tls("rediss://h", tls_cert_file=certificate, tls_key_file=key)
