from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutation import lua_mutants, targets
from tests.mutation.mutants import sample

ROOT = Path(__file__).parents[2]
SCRIPT = """--[[
  KEYS
    1  log  stream
]]
local count = redis.call('XLEN', KEYS[1]) -- and not 1
if count > 0 and not ARGV[1] then
  redis.call('UNLINK', KEYS[1])
end
return { 'DELETED', count }
"""


def test_operators_constants_conditions_and_statements_of_a_script_are_changed_one_at_a_time() -> None:
    mutants = lua_mutants.mutants_of("x.lua", SCRIPT)

    assert [(mutant.line, mutant.what) for mutant in mutants] == [
        (5, "1 -> 2"),
        (6, "> -> >="),
        (6, "0 -> 1"),
        (6, "and -> or"),
        (6, "not -> left out"),
        (6, "1 -> 2"),
        (6, "condition turned round"),
        (7, "1 -> 2"),
        (7, "statement left out"),
        (9, "statement left out"),
    ]
    assert all(len(mutant.diff(SCRIPT).splitlines()) == 2 for mutant in mutants)


def test_a_sample_is_the_same_for_a_seed_and_in_order() -> None:
    mutants = lua_mutants.mutants_of("x.lua", SCRIPT)
    some = sample(mutants, 4, seed=1)

    assert some == sample(mutants, 4, seed=1) != sample(mutants, 4, seed=2)
    assert some == sorted(some, key=mutants.index)


@pytest.mark.parametrize("name", targets.names())
def test_a_target_and_its_tests_are_there(name: str) -> None:
    files = targets.tests_of(name)

    assert files
    assert [file for file in (targets.path_of(name), *files) if not (ROOT / file).exists()] == []


def test_every_script_is_a_target() -> None:
    folder = ROOT / "redis_sessions/lua"
    assert set(targets.LUA) == {str(path.relative_to(folder))[:-4] for path in folder.rglob("*.lua")}
