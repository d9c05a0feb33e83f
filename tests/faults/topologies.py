"""The deployments that a load runs on."""

from __future__ import annotations

import contextlib
import datetime
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

import trustme
from redis.crc import key_slot

from redis_sessions import acl
from tests.support import Proxy, Server, sentinel_trio, valkey_cluster
from tests.support.servers import HOST, a_server, free_port

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support import SentinelTrio, ValkeyCluster

Topology = Literal["single", "tls+acl", "sentinel", "cluster"]

DOWN_AFTER_MS = 1_000
FLOWS = 3
DURABLE = {"appendonly": True, "appendfsync": "always", "repl_diskless_sync_delay": 0}
USER, PASSWORD = "sessions", "p@ss:w/rd"


@dataclass
class Deployment:
    """Servers, how workers reach them, and how this process does, without faults on the way."""

    topology: Topology
    url: str
    direct_url: str
    options: dict[str, Any] = field(default_factory=dict)
    server: Server | None = None
    proxy: Proxy | None = None
    trio: SentinelTrio | None = None
    cluster: ValkeyCluster | None = None

    @property
    def admin_options(self) -> dict[str, Any]:
        return {name: value for name, value in self.options.items() if name == "feed_max_events"}

    @property
    def replicas(self) -> int:
        """How many a write waits for."""
        return int(self.options.get("wait_replicas", 0))

    def draw_flows(self, chance: random.Random) -> list[str]:
        """Flow ids; on a cluster, one for each primary in turn."""
        flows: list[str] = []
        while len(flows) < FLOWS:
            flow = str(UUID(int=chance.getrandbits(128), version=4))
            if self.cluster is None or key_slot(flow.encode()) * 3 // 16_384 == len(flows):
                flows.append(flow)
        return flows


@contextlib.asynccontextmanager
async def deploy(
    topology: Topology,
    kind: str,
    folder: Path,
    conf: dict[str, Any] | None = None,
    stores: dict[str, Any] | None = None,
) -> AsyncIterator[Deployment]:
    """A deployment of servers of ``kind``; ``conf`` is for the data servers, ``stores`` for the clients."""
    options: dict[str, Any] = {"feed_max_events": 1_000_000, **(stores or {})}
    conf = {**DURABLE, **(conf or {})}
    match topology:
        case "single":
            with a_server(kind, survives_full_files=True, **conf) as server:
                async with Proxy(server) as proxy:
                    yield Deployment(topology, proxy.url, server.url, options, server=server, proxy=proxy)
        case "tls+acl":
            with guarded(kind, folder, conf) as (server, tls):
                url = f"rediss://{HOST}:{server.conf('tls-port')}/0"
                options |= {"username": USER, "password": PASSWORD, "tls_ca_file": str(tls)}
                yield Deployment(topology, url, server.url, options, server=server)
        case "sentinel":
            options["wait_replicas"] = 1
            with sentinel_trio(kind=kind, down_after_ms=DOWN_AFTER_MS, **conf) as trio:
                yield Deployment(topology, trio.url, trio.url, options, trio=trio)
        case "cluster":
            options["wait_replicas"] = 1
            with valkey_cluster(3, 1, kind=kind, cluster_node_timeout=2 * DOWN_AFTER_MS, **conf) as cluster:
                yield Deployment(topology, cluster.url, cluster.url, options, cluster=cluster)


@contextlib.contextmanager
def guarded(kind: str, folder: Path, conf: dict[str, Any]) -> Any:
    """A server with TLS, and with a user who may do what the documented ACL says and nothing else."""
    authority = trustme.CA()
    certificate = authority.issue_cert(HOST, not_after=_tomorrow())
    files = {"cert": folder / "cert.pem", "key": folder / "key.pem", "ca": folder / "ca.pem"}
    certificate.cert_chain_pems[0].write_to_path(files["cert"])
    certificate.private_key_pem.write_to_path(files["key"])
    authority.cert_pem.write_to_path(files["ca"])
    conf = conf | {
        "tls_port": free_port(),
        "tls_cert_file": files["cert"],
        "tls_key_file": files["key"],
        "tls_ca_cert_file": files["ca"],
        "tls_auth_clients": False,
        "user": (USER, "on", f">{PASSWORD}", *acl.rules(since_7_2=False).split()),
    }
    with a_server(kind, survives_full_files=True, **conf) as server:
        yield server, files["ca"]


def _tomorrow() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
