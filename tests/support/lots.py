"""Which tests go to one process of pytest-xdist: those that share what takes long to make.

The marks of ``--dist loadgroup`` do nothing with pytest 9.2, which names a test once and for all. So this has
a table. The hook is imported by ``tests/conftest.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:
    from xdist.remote import Producer

ONCE = (
    "tests/chart/test_image.py",
    "tests/chart/test_tls.py",
    "tests/chart/test_users.py",
    "tests/test_package.py",
    "tests/test_redirections.py",
)
"""Files each with something that is built or started once for all its tests."""
LANGFLOW = "tests/langflow/"
SERVED = tuple(
    f"{LANGFLOW}{name}.py"
    for name in (
        *(
            "component/test_bundle",
            "component/test_flow",
            "test_benchmark",
            "test_golden",
            "test_monitor_pair",
        ),
        *("test_monitor_servers", "test_pair", "test_playground", "test_runs", "test_sessions"),
    )
)
"""Files whose tests ask for the Langflow servers of a worker."""


class Lots(LoadScopeScheduling):
    """A lot goes to one worker, the largest first; a test that is in none goes by itself."""

    def _split_scope(self, nodeid: str) -> str:
        return lot_of(nodeid)


def lot_of(nodeid: str) -> str:
    file = nodeid.partition("::")[0]
    if file in SERVED:
        return "servers"
    if file.startswith(f"{LANGFLOW}inside/"):  # one application
        return "inside"
    return file if file in ONCE or file.startswith(LANGFLOW) else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Lots | None:
    return Lots(config, log) if config.getvalue("dist") == "loadgroup" else None
