"""Compares a recorded answer with a new one, in which ids and times are others.

Everything else is the same text, byte for byte. An id stands for the same thing in all answers of a story: it
has one twin, and no two ids have the same one.
"""

from __future__ import annotations

import re

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_TIMES = (
    r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{6})? UTC",
    r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{6})?Z",
    r"(?<=\"timedelta\": )[\d.e-]+",
    r"(?<=\"build_duration\": )[\d.e-]+",
    r"(?<=\"duration\": \")[\d.]+ m?s",
    r"(?<=\"active_jobs\":)\d+",
)
_CHANGING = re.compile(
    "|".join((f"(?P<id>{_UUID})", *(f"(?P<t{n}>{time})" for n, time in enumerate(_TIMES))))
)


class Twins:
    """The ids of a recording, and those that are in their place now.

    Args:
        known: pairs that are known before.
    """

    def __init__(self, known: dict[str, str]) -> None:
        self._now = dict(known)
        self._then = {now: then for then, now in known.items()}

    def url(self, recorded: str) -> str:
        """A recorded text with the ids that are known by now."""
        return re.sub(_UUID, lambda found: self._now.get(found[0], found[0]), recorded)

    def expected(self, recorded: str, answered: str) -> str:
        """What the answer should be: the recorded text with the ids and times of the answer."""
        answers = iter(list(_CHANGING.finditer(answered)))

        def twin(then: re.Match[str]) -> str:
            now = next(answers, None)
            if now is None or now.lastgroup != then.lastgroup:
                return then[0]
            if then.lastgroup != "id":
                return now[0]
            if (
                self._now.setdefault(then[0], now[0]) != now[0]
                or self._then.setdefault(now[0], then[0]) != then[0]
            ):
                return f"<{then[0]} is {self._now[then[0]]}>"
            return now[0]

        return _CHANGING.sub(twin, recorded)
