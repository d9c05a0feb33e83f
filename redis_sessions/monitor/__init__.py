"""Langflow's ``/api/v1/monitor`` over a :class:`~redis_sessions.SessionStore`, as an ASGI application.

Needs the extra ``monitor``. ``monitor_app(store)`` can be served alone or mounted in another application.
"""

from redis_sessions.monitor.access import Access, KeyAccess, OpenAccess, Principal, hash_key, new_key
from redis_sessions.monitor.app import monitor_app
from redis_sessions.monitor.langflow_access import LangflowAccess
from redis_sessions.monitor.settings import MonitorSettings, configured_access

__all__ = [
    "Access",
    "KeyAccess",
    "LangflowAccess",
    "MonitorSettings",
    "OpenAccess",
    "Principal",
    "configured_access",
    "hash_key",
    "monitor_app",
    "new_key",
]
