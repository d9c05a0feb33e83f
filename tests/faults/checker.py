"""The checker: is what was answered, and what is stored at last, what the feed says happened?

For each flow, in words:

- every acknowledged write is in the feed once, with what it answered; one of unknown outcome at most once;
  one that was refused not at all;
- the feed has the writes in an order that their times allow: none that ended before another began comes after
  it;
- every read's answer is that of a state between its start and its end: no message of another session, none
  that was deleted before, no content older than one acknowledged before, messages by (timestamp, entry), none
  left out;
- what is stored at last is the last state: sessions, messages, order, contents, and no key beside them.

**Unsettled times** are those around a failover: what a primary did that is lost with it was never
acknowledged, but may have been read. Reads of such a time are checked for what holds even then: messages of
this flow, of calls that had begun.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tests.faults.record import Call, Outcome
from tests.faults.replay import Replay

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WRITES = frozenset({"append", "update", "rename", "delete_messages", "delete_session"})


@dataclass
class Final:
    """What is stored in a flow at last.

    Attributes:
        events: the feed, as XRANGE gives it, fields as a dict.
        histories: of each session that the flow lists, all messages as ``load.shown`` has them.
        logs: the session ids of the streams that there are.
        edits: the session ids of the hashes of changed messages that there are.
    """

    events: Sequence[tuple[bytes, Mapping[bytes, bytes]]]
    histories: Mapping[str, list[list[Any]]]
    logs: frozenset[str]
    edits: frozenset[str] = frozenset()


@dataclass
class Verdict:
    """What the checker found; ``complaints`` is empty when all is well."""

    complaints: list[str] = field(default_factory=list)
    calls: int = 0
    acknowledged: int = 0
    unknown: int = 0
    reads: int = 0
    unsettled_reads: int = 0


def check(
    calls: Sequence[Call],
    finals: Mapping[str, Final],
    unsettled: Sequence[tuple[float, float]] = (),
) -> Verdict:
    """Check the record of a load on these flows. ``unsettled`` are times, as the record has them."""
    verdict = Verdict(calls=len(calls))
    verdict.acknowledged = sum(call.acknowledged and call.op in WRITES for call in calls)
    verdict.unknown = sum(call.outcome is Outcome.UNKNOWN and call.op in WRITES for call in calls)
    for flow, final in finals.items():
        mine = [call for call in calls if call.flow == flow]
        _Flow(flow, mine, final, unsettled, verdict).check()
    strays = {call.flow for call in calls} - set(finals)
    verdict.complaints += [f"a call to a flow that was not looked at: {flow}" for flow in sorted(strays)]
    return verdict


class _Flow:
    def __init__(
        self,
        flow: str,
        calls: Sequence[Call],
        final: Final,
        unsettled: Sequence[tuple[float, float]],
        verdict: Verdict,
    ) -> None:
        self.flow = flow
        self.calls = calls
        self.final = final
        self.unsettled = unsettled
        self.verdict = verdict
        self.replay = Replay(flow, final.events, calls)
        timed = [(place, call) for place, call in enumerate(self.replay.order) if call is not None]
        by_end = sorted((call.end, place) for place, call in timed)
        self._ends = [end for end, _ in by_end]
        self._done_by: list[int] = []  # the state that is reached once the calls that end so early have ended
        for _, place in by_end:
            self._done_by.append(max(place + 1, self._done_by[-1] if self._done_by else 0))
        by_start = sorted(((call.start, place) for place, call in timed), reverse=True)
        self._starts = [-start for start, _ in by_start]
        self._before: list[int] = []  # the last state before any of the calls that start so late
        for _, place in by_start:
            self._before.append(min(place, self._before[-1] if self._before else place))

    def complain(self, what: str) -> None:
        self.verdict.complaints.append(f"{self.flow}: {what}")

    def check(self) -> None:
        self.verdict.complaints += self.replay.complaints
        self._check_order()
        for call in self.calls:
            if call.op in WRITES:
                self._check_write(call)
            if call.acknowledged and call.op in ("history", "sessions"):
                self._check_read(call)
        self._check_final()

    # --- writes

    def _check_order(self) -> None:
        latest: Call | None = None
        for call in self.replay.order:
            if call is None:
                continue
            if latest is not None and call.end < latest.start:
                self.complain(
                    f"in the feed, {call} comes after a call that began when it had ended: {latest}"
                )
            if latest is None or call.start > latest.start:
                latest = call

    def _check_write(self, call: Call) -> None:
        events = self.replay.events_of.get(call.id, [])
        if len(events) > 1:
            self.complain(f"carried out {len(events)} times: {call}")
        elif call.outcome in (Outcome.REFUSED, Outcome.ABSENT) and events:
            self.complain(f"carried out though refused: {call}")
        elif call.outcome is Outcome.ABSENT:
            self._check_absence(call)
        elif call.acknowledged:
            self._check_answer(call, events[0] if events else None)

    def _check_answer(self, call: Call, event: dict[str, Any] | None) -> None:
        if event is None:
            if _did_something(call):
                self.complain(f"acknowledged, and not in the feed: {call}")
            else:
                self._check_absence(call)
            return
        match call.op:
            case "append" | "delete_messages":
                same = event["messages"] == call.answer
            case "update":
                message, text, context, *_ = call.answer
                change = call.asked["change"]
                same = event["messages"] == [message] == [call.asked["message"]]
                same = same and change in ({"text": text}, {"context_id": context})
            case "rename":
                outcome, count = call.answer
                same = event["r"].decode().lower() == outcome and int(event["c"]) == count
            case _:
                same = int(event["c"]) == call.answer
        if not same:
            self.complain(f"the answer is not what was done ({event}): {call}")

    def _check_absence(self, call: Call) -> None:
        """A call that found nothing to do: there was a state in which that is so."""
        if self._is_unsettled(call):
            return
        low, high = self._states(call)
        match call.op:
            case "update" | "delete_messages":
                message = call.asked.get("message") or call.asked["messages"][0]
                if all(content is not None for content in self.replay.content(message).between(low, high)):
                    self.complain(f"did not find a message that was there all the time: {call}")
            case "rename" | "delete_session":
                session = call.asked.get("old") or call.asked["session"]
                if all(window is not None for window in self.replay.window(session).between(low, high)):
                    self.complain(f"did not find a session that was there all the time: {call}")

    # --- reads

    def _states(self, call: Call) -> tuple[int, int]:
        """The states that the call may have seen: the first and the last."""
        ended = bisect_left(self._ends, call.start)
        low = self._done_by[ended - 1] if ended else 0
        begun = bisect_left(self._starts, -call.end)  # those that start later than the end
        high = self._before[begun - 1] if begun else len(self.replay.order)
        return low, max(low, high)

    def _is_unsettled(self, call: Call) -> bool:
        return any(call.start <= end and call.end >= start for start, end in self.unsettled)

    def _check_read(self, call: Call) -> None:
        self.verdict.reads += 1
        if self._is_unsettled(call):
            self.verdict.unsettled_reads += 1
            if call.op == "history":
                self._check_what_always_holds(call)
            return
        low, high = self._states(call)
        if call.op == "sessions":
            if all(set(call.answer) != names for names in self.replay.names.between(low, high)):
                self.complain(f"the sessions were never these (states {low} to {high}): {call}")
            return
        session, limit = call.asked["session"], call.asked["limit"]
        ids = [message for message, *_ in call.answer]
        windows = [(window or ())[-limit:] for window in self.replay.window(session).between(low, high)]
        if tuple(ids) not in windows:
            self.complain(
                f"the session was never this (states {low} to {high}); "
                f"{self._what_is_wrong(ids, windows)}: {call}"
            )
        for message, text, context, flow, shown_session in call.answer:
            if (flow, shown_session) != (self.flow, session):
                self.complain(f"{message} of {shown_session!r} in {flow} is shown: {call}")
            if all(content != (text, context) for content in self.replay.content(message).between(low, high)):
                self.complain(f"{message} never was {text[:20]!r}, {context!r} at that time: {call}")

    def _what_is_wrong(self, ids: Sequence[str], windows: Sequence[Sequence[str]]) -> str:
        expected = windows[0]
        if sorted(ids) == sorted(expected):
            return "their order is wrong"
        more, less = set(ids) - set(expected), set(expected) - set(ids)
        return f"too many: {sorted(more)}, too few: {sorted(less)}"

    def _check_what_always_holds(self, call: Call) -> None:
        for message, text, _, flow, session in call.answer:
            author = text.split("/")[0].strip()
            born = self.replay.born_of.get(message)
            if flow != self.flow or session != call.asked["session"]:
                self.complain(f"{message} of {session!r} in {flow} is shown: {call}")
            if born is not None and born.start > call.end:
                self.complain(f"{message} is shown before it was stored: {call}")
            if not any(author == other.id for other in self.calls):
                self.complain(f"{message} holds what nobody stored in this flow: {call}")

    # --- the end

    def _check_final(self) -> None:
        expected = {
            name: [message for _, _, message in session.messages]
            for name, session in self.replay.sessions.items()
        }
        if set(self.final.histories) != set(expected):
            self.complain(
                f"at last there are the sessions {sorted(self.final.histories)}; "
                f"the feed says {sorted(expected)}"
            )
        if self.final.logs != frozenset(expected):
            self.complain(f"at last there are the streams {sorted(self.final.logs)}, for {sorted(expected)}")
        if not self.final.edits <= frozenset(expected):
            self.complain(f"at last there are edits of {sorted(self.final.edits)}, for {sorted(expected)}")
        for name, messages in self.final.histories.items():
            ids = [message for message, *_ in messages]
            if ids != expected.get(name, []):
                self.complain(
                    f"at last {name!r} is not what the feed says: "
                    + self._what_is_wrong(ids, [expected.get(name, [])])
                )
            for message, text, context, *_ in messages:
                if (content := self.replay.content(message).last) != (text, context):
                    self.complain(f"at last {message} is {text[:20]!r}, {context!r}; the feed says {content}")


def _did_something(call: Call) -> bool:
    match call.op:
        case "rename":
            return bool(call.answer[0] != "unchanged")
        case "delete_messages" | "delete_session":
            return bool(call.answer)
        case _:
            return True


def longest_gap(calls: Sequence[Call], flow: str, since: float, until: float) -> float:
    """The longest time, between two moments, in which no append to a flow was acknowledged."""
    ends = [call.end for call in calls if call.op == "append" and call.acknowledged and call.flow == flow]
    inside = sorted(end for end in ends if since <= end <= until)
    marks = [since, *inside, until]
    return max(later - earlier for earlier, later in pairwise(marks))
