"""Moving in and out: between a store and a Langflow database, or a file of JSON lines.

A *source* yields records in batches, each batch with the place behind it; :class:`Import` brings them into
the store. A *target* takes what is in the store; :class:`Export` brings it there. Both end with a comparison
of the two sides, message by message and session by session, from what each really holds. The commands
``import`` and ``export`` are thin layers over them; ``docs/import-export.md`` has what they guarantee, and
the format.
"""

from __future__ import annotations

from redis_sessions.transfer.exporter import Export
from redis_sessions.transfer.importer import Import
from redis_sessions.transfer.report import Finding, Report
from redis_sessions.transfer.scope import Scope

__all__ = ["Export", "Finding", "Import", "Report", "Scope"]
