"""Examine a store: the server it is on, and whether its data is as this package leaves it.

Nothing is changed unless it is asked for, and nothing that holds messages is ever deleted. It may run while
the store is in use: the keys are walked step by step (SCAN), what seems wrong is looked at again by a script
in one atomic step, and mended in the same step.
"""

from redis_sessions.doctor.examination import examine
from redis_sessions.doctor.report import KINDS, Fact, Finding, Kind, Report

__all__ = ["KINDS", "Fact", "Finding", "Kind", "Report", "examine"]
