from __future__ import annotations

import hashlib
import json
import statistics
from dataclasses import asdict

from benchmarks.payloads import plain, turn, turns


def test_the_same_turns_come_in_every_run() -> None:
    told = json.dumps([asdict(one) for one in turns(200)]).encode()
    assert (
        hashlib.sha256(told).hexdigest() == "86a57c052185e080f6e1af4acc5e3511b8d94b8aa60e8cd24b71d90d27108bf6"
    )


def test_a_turn_does_not_depend_on_those_before_it() -> None:
    assert turns(3, first=40) == [turn(40), turn(41), turn(42)]


def test_turns_are_shaped_like_rows_of_langflow() -> None:
    said = turns(2_000)
    users, machines = said[::2], said[1::2]
    assert {one.sender for one in users} == {"User"}
    assert {one.sender for one in machines} == {"Machine"}
    assert all(set(one.properties["source"]) == {"id", "display_name", "source"} for one in machines)
    assert 60 < statistics.median(len(one.text) for one in users) < 150
    assert 200 < statistics.median(len(one.text) for one in machines) < 450
    agents = sum(bool(one.content_blocks) for one in machines) / len(machines)
    assert 0.15 < agents < 0.25


def test_a_plain_turn_has_a_text_of_so_many_bytes() -> None:
    assert len(plain(600).text.encode()) == 600
