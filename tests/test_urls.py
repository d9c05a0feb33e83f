from __future__ import annotations

import traceback
from urllib.parse import quote

import pytest

from redis_sessions.errors import ConfigurationError
from redis_sessions.urls import Location, parse_url

SECRET = "hunter2secret"
EVERYTHING = "p@ss/w#rd?:%41{}[]&=+ \n\t\x00,;ü😀"


def test_one_server_has_redis_port_and_database_zero_by_default() -> None:
    assert parse_url("redis://localhost") == Location(
        kind="standalone", scheme="redis", hosts=(("localhost", 6379),)
    )


@pytest.mark.parametrize(
    ("url", "hosts", "db"),
    [
        ("redis://localhost:6380/2", (("localhost", 6380),), 2),
        ("redis://localhost/", (("localhost", 6379),), 0),
        ("redis://localhost?db=3", (("localhost", 6379),), 3),
        ("redis://localhost/3?db=3", (("localhost", 6379),), 3),
        ("redis://10.0.0.1:1", (("10.0.0.1", 1),), 0),
        ("redis://my_redis.svc-1.local:65535", (("my_redis.svc-1.local", 65535),), 0),
        ("redis://[::1]:6380/1", (("::1", 6380),), 1),
        ("redis://[fe80::1%25eth0]", (("fe80::1%eth0", 6379),), 0),
        ("redis://bücher.example", (("bücher.example", 6379),), 0),
        ("  redis://localhost\n", (("localhost", 6379),), 0),
        ("REDIS://localhost", (("localhost", 6379),), 0),
    ],
)
def test_one_server_is_a_host_a_port_and_a_database(url: str, hosts: object, db: int) -> None:
    location = parse_url(url)
    assert (location.kind, location.hosts, location.db) == ("standalone", hosts, db)


@pytest.mark.parametrize(
    ("scheme", "kind", "tls"),
    [
        ("redis", "standalone", False),
        ("rediss", "standalone", True),
        ("valkey", "standalone", False),
        ("valkeys", "standalone", True),
        ("redis+cluster", "cluster", False),
        ("rediss+cluster", "cluster", True),
        ("valkey+cluster", "cluster", False),
        ("valkeys+cluster", "cluster", True),
        ("redis+sentinel", "sentinel", False),
        ("rediss+sentinel", "sentinel", True),
        ("valkey+sentinel", "sentinel", False),
        ("valkeys+sentinel", "sentinel", True),
    ],
)
def test_a_scheme_says_what_it_is_and_whether_with_tls(scheme: str, kind: str, tls: bool) -> None:
    location = parse_url(f"{scheme}://host/{'service' if kind == 'sentinel' else ''}")
    assert (location.kind, location.tls) == (kind, tls)


def test_a_socket_has_a_path_and_a_database() -> None:
    location = parse_url("unix:///run/my%20redis/@1.sock?db=4")
    assert (location.kind, location.path, location.db) == ("standalone", "/run/my redis/@1.sock", 4)


def test_a_socket_takes_credentials_before_its_path() -> None:
    location = parse_url("unix://me:s%2Fcret@/run/redis.sock")
    assert (location.username, location.password, location.path) == ("me", "s/cret", "/run/redis.sock")


def test_sentinels_have_their_own_port_a_service_and_a_database() -> None:
    location = parse_url("redis+sentinel://me:pw@one,two:2,[::3]:3/my%2Fmaster/5")
    assert location.hosts == (("one", 26379), ("two", 2), ("::3", 3))
    assert (location.service, location.db, location.username) == ("my/master", 5, "me")


def test_a_cluster_has_several_hosts() -> None:
    assert parse_url("redis+cluster://one,two:2/0").hosts == (("one", 6379), ("two", 2))


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("embedded://", ""),
        ("embedded:///srv/data", "/srv/data"),
        ("embedded://./data", "./data"),
        ("embedded://~/data", "~/data"),
        ("embedded:///srv/my%20data%23", "/srv/my data#"),
        ("memory://", ""),
        ("memory://tests-1", "tests-1"),
    ],
)
def test_what_needs_no_host_has_a_path(url: str, path: str) -> None:
    assert parse_url(url).path == path


@pytest.mark.parametrize(
    "template", ["redis://{}:{}@host", "unix://{}:{}@/sock", "redis+sentinel://{}:{}@a,b/s"]
)
def test_any_character_is_possible_when_percent_encoded(template: str) -> None:
    location = parse_url(template.format(quote(EVERYTHING, safe=""), quote(EVERYTHING[::-1], safe="")))
    assert (location.username, location.password) == (EVERYTHING, EVERYTHING[::-1])


@pytest.mark.parametrize(
    ("userinfo", "credentials"),
    [
        (":pw@", (None, "pw")),
        ("me@", ("me", None)),
        ("me:@", ("me", None)),
        (":@", (None, None)),
        ("me:a:b@", ("me", "a:b")),
        ("", (None, None)),
    ],
)
def test_user_and_password_may_each_be_left_out(
    userinfo: str, credentials: tuple[str | None, str | None]
) -> None:
    location = parse_url(f"redis://{userinfo}host")
    assert (location.username, location.password) == credentials


def test_tls_parameters_become_what_redis_py_calls_them() -> None:
    location = parse_url(
        "rediss://h?ssl_ca_certs=/a%20b.pem&ssl_certfile=/c&ssl_keyfile=/k&ssl_check_hostname=No"
        "&ssl_cert_reqs=Optional"
    )
    assert location.tls_options == {
        "ssl_ca_certs": "/a b.pem",
        "ssl_certfile": "/c",
        "ssl_keyfile": "/k",
        "ssl_check_hostname": False,
        "ssl_cert_reqs": "optional",
    }


ENCODE = "percent-encode .* REDIS_SESSIONS_PASSWORD"
MISTAKES = [
    # an unencoded password
    (f"redis://:{SECRET}@{SECRET}@host", ENCODE),
    (f"redis://:{SECRET}/{SECRET}@host", ENCODE),
    (f"redis://:{SECRET}#{SECRET}@host", ENCODE),
    (f"redis://:{SECRET}?{SECRET}@host", ENCODE),
    (f"redis://:{SECRET}?db={SECRET}@host", ENCODE),
    (f"redis://:{SECRET}%{SECRET}@host", ENCODE),
    (f"redis://:{SECRET}%zz@host", ENCODE),
    (f"redis://:{SECRET} {SECRET}@host", ENCODE),
    (f"redis://:{SECRET}\n{SECRET}@host", ENCODE),
    (f"redis://:{{{SECRET}}}@host", ENCODE),
    (f"redis://:{SECRET}/{SECRET}", ENCODE),
    (f"redis://user:{SECRET}", "port is not a number.*" + ENCODE),
    (f"redis://user:{SECRET}:6379", "IPv6.*" + ENCODE),
    (f"redis://:{SECRET}@[{SECRET}", ENCODE),
    (f"redis://host<{SECRET}", "character.*" + ENCODE),
    (f"redis://:%ff{SECRET}@host", "UTF-8"),
    (f"redis+sentinel://:{SECRET}/{SECRET}@host/service", ENCODE),
    (f"redis+sentinel://user:123/{SECRET}@host/0", ENCODE),  # 123 is a port, and the rest a service?
    (f"redis+cluster://:{SECRET}@a,:{SECRET}@b", ENCODE),
    (f"unix://:{SECRET}/{SECRET}@/run/redis.sock", ENCODE),
    (f"unix://:{SECRET}@{SECRET}@/run/redis.sock", ENCODE),
    # schemes
    (f"user:{SECRET}@host:6379", "no scheme.*redis://"),
    ("localhost:6379", "no scheme"),
    ("redis:localhost", "no scheme"),
    (f"http://user:{SECRET}@host", "scheme is not one.*redis://"),
    (f"{SECRET}://host", "scheme is not one"),
    ("redis+tls://host", "scheme is not one"),
    ("rediss+unix:///run/redis.sock", "scheme is not one"),
    # hosts and ports
    ("redis://", "a host is missing"),
    (f"redis://:{SECRET}@", "a host is missing"),
    ("redis:///0", "a host is missing"),
    ("redis://:6379", "a host is missing"),
    ("redis+cluster://a,,b", "a host is missing"),
    ("redis://host:", "port is not a number"),
    ("redis://host:0", "port is not a number"),
    ("redis://host:65536", "port is not a number"),
    ("redis://host:-1", "port is not a number"),
    ("redis://host:6379x", "port is not a number"),
    ("redis://host:٣", "port is not a number"),
    ("redis://::1", "IPv6"),
    ("redis://one,two", r"several hosts: use redis\+sentinel"),
    ("redis://{host}:6379", "unfilled template"),
    ("redis://${REDIS_HOST}:6379", "unfilled template"),
    # databases, services and paths
    ("redis://host/one", "database number"),
    ("redis://host/-1", "database number"),
    ("redis://host/0/1", "database number"),
    ("redis://host/1?db=2", "two databases"),
    ("redis+cluster://host/1", "only database 0"),
    ("redis+cluster://host?db=1", "'db'"),
    ("redis+sentinel://host", "names no service.*mymaster"),
    ("redis+sentinel://host/", "names no service"),
    ("redis+sentinel://host/service/x", "database number"),
    ("unix://run/redis.sock", "begins with a slash"),
    ("unix://", "begins with a slash"),
    ("unix:///run/redis%00.sock", "NUL"),
    ("embedded:///data%00", "NUL"),
    ("embedded:///data#1", "# in it"),
    ("memory://a/b", "letters, digits"),
    (f"memory://:{SECRET}@host", "letters, digits"),
    # parameters
    ("redis://host?tiemout=1", "'tiemout'"),
    ("redis://host?a=1&b=2", "'a', 'b'"),
    ("redis://host?db=1&db=1", "'db' is given twice"),
    (f"redis://host?password={SECRET}", "'password'"),
    ("embedded:///data?db=1", "'db'"),
    ("memory://?db=1", "'db'"),
    ("redis://host?ssl_ca_certs=/ca.pem", "use rediss://"),
    ("rediss://host?ssl_check_hostname=perhaps", "true or false"),
    ("rediss://host?ssl_cert_reqs=perhaps", "required, optional or none"),
]


@pytest.mark.parametrize(("url", "advice"), MISTAKES)
def test_a_mistake_is_refused_with_advice_and_without_the_secret(url: str, advice: str) -> None:
    with pytest.raises(ConfigurationError, match=f"(?s){advice}") as caught:
        parse_url(url)
    assert "REDIS_SESSIONS_URL" in str(caught.value)
    chain = "".join(traceback.format_exception(caught.value)[-1:]) + repr(caught.value)
    assert SECRET not in chain
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        (f"redis://me:{SECRET}@host/1", "redis://host:6379/1"),
        (f"valkeys://{SECRET}@[::1]:1?ssl_certfile=/{SECRET}", "valkeys://[::1]:1/0"),
        (f"unix://:{SECRET}@/run/my%20redis.sock", "unix:///run/my%20redis.sock?db=0"),
        (f"redis+sentinel://:{SECRET}@a,b:1/my%2Fs", "redis+sentinel://a:26379,b:1/my%2Fs/0"),
        (f"rediss+cluster://:{SECRET}@a,b", "rediss+cluster://a:6379,b:6379"),
        ("memory://tests", "memory://tests"),
        ("embedded:///srv/my%20data", "embedded:///srv/my%20data"),
    ],
)
def test_the_safe_url_says_where_and_not_who(url: str, safe: str) -> None:
    location = parse_url(url)
    assert location.safe_url == safe
    assert SECRET not in repr(location)


@pytest.mark.parametrize(
    "url", ["redis://h:1/2", "redis+sentinel://a:1,b:2/s/3", "unix:///a%20b?db=1", "memory://n"]
)
def test_a_safe_url_is_a_url(url: str) -> None:
    assert parse_url(parse_url(url).safe_url) == parse_url(url)
