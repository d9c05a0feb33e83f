"""What the tests need beside the package: real servers, a proxy that fails on demand, and waiting."""

from tests.support.groups import SentinelTrio, ValkeyCluster, sentinel_trio, valkey_cluster
from tests.support.proxy import Fault, Hold, Proxy, Request
from tests.support.servers import HOST, REDIS_SERVER, Server, redis_server, valkey_server
from tests.support.waiting import poll, wait_until

__all__ = [
    "HOST",
    "REDIS_SERVER",
    "Fault",
    "Hold",
    "Proxy",
    "Request",
    "SentinelTrio",
    "Server",
    "ValkeyCluster",
    "poll",
    "redis_server",
    "sentinel_trio",
    "valkey_cluster",
    "valkey_server",
    "wait_until",
]
