"""The headers of the Lua files say what their bodies do, and no script leaks a global."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path

import lupa.lua51
import pytest

import redis_sessions
from redis_sessions import scripting
from redis_sessions.keys import FlowKeys

FOLDER = Path(redis_sessions.__file__).parent / "lua"
NAMES = sorted(path.stem for path in FOLDER.glob("*.lua"))
SHARED = sorted(path.stem for path in (FOLDER / "shared").glob("*.lua"))
MODULES = ("scripting.py", "scripts.py", "flow_scripts.py", "mend_scripts.py")
each = pytest.mark.parametrize("name", NAMES)

TYPES = {"stream": "X", "hash": "H", "zset": "Z", "set": "S", "any": ""}
ANY_TYPE = {"TYPE", "EXISTS", "UNLINK", "PEXPIRE", "PTTL", "RENAME", "PERSIST", "TIME"}
ARGUMENT_TYPES = {"bytes", "int", "text", "flag"}
PROVIDED = {"KEYS", "ARGV", "redis", "string", "math", "table"} | {
    "error",
    "ipairs",
    "pairs",
    "select",
    "tonumber",
    "tostring",
    "type",
    "unpack",
}


@dataclass
class Slot:
    """One line of KEYS or ARGV."""

    number: int
    repeated: bool
    name: str
    kind: str
    text: str


@dataclass
class Script:
    name: str
    header: str
    body: str
    keys: list[Slot]
    arguments: list[Slot]
    statuses: list[str]

    @property
    def includes(self) -> list[str]:
        line = re.search(r"^-- @include (.+)$", self.body, re.MULTILINE)
        return line[1].split() if line else []


def read(name: str) -> Script:
    text = (FOLDER / f"{name}.lua").read_text()
    match = re.fullmatch(r"--\[\[\n(.*?)\n\]\]\n(.*)", text, re.DOTALL)
    assert match, "a script begins with its header"
    header, body = match[1], match[2]
    sections = re.split(r"^  (KEYS|ARGV|Returns|Atomicity|Time)\b", header, flags=re.MULTILINE)
    found = dict(zip(sections[1::2], sections[2::2], strict=True))
    statuses = re.findall(r"^    ([A-Z_]+)\b", found["Returns"], re.MULTILINE)
    return Script(name, header, body, slots(found["KEYS"]), slots(found.get("ARGV", "")), statuses)


def slots(section: str) -> list[Slot]:
    found = []
    for line in section.strip("\n").splitlines():
        match = re.fullmatch(r"\s+(\d+)(…?)\s+(\w+)\s+(\w+(?: each)?)\s+(\S.*)", line)
        if match:
            found.append(Slot(int(match[1]), bool(match[2]), match[3], match[4], match[5]))
    return found


def used(body: str, table: str) -> tuple[set[int], int | None]:
    """The indices of KEYS or ARGV in a body: those that are written out, and from where it counts."""
    fixed = {int(number) for number in re.findall(rf"{table}\[(\d+)\]", body)}
    computed = re.findall(rf"{table}\[(\d+) \+ #", body)
    loops = re.findall(rf"for \w+ = (\d+), #{table}", body)
    starts = {int(number) for number in computed + loops}
    return fixed, min(starts) if starts else None


@each
def test_a_header_begins_with_the_name_of_its_file(name: str) -> None:
    assert read(name).header.startswith(f"  {name}: ")


@each
def test_a_header_tells_atomicity_and_time(name: str) -> None:
    header = read(name).header
    assert re.search(r"^  Atomicity  \S", header, re.MULTILINE)
    assert re.search(r"^  Time       O\(", header, re.MULTILINE)


@each
def test_keys_and_arguments_are_numbered_from_1(name: str) -> None:
    script = read(name)
    for table in (script.keys, script.arguments):
        assert [slot.number for slot in table] == list(range(1, len(table) + 1))
        assert not any(slot.repeated for slot in table[:-1])
    assert script.keys


@each
def test_the_keys_of_a_header_are_those_that_the_body_uses(name: str) -> None:
    script = read(name)
    fixed, start = used(script.body, "KEYS")
    assert fixed == {slot.number for slot in script.keys if not slot.repeated}
    assert start == (script.keys[-1].number if script.keys[-1].repeated else None)


@each
def test_the_arguments_of_a_header_are_those_that_the_body_uses(name: str) -> None:
    script = read(name)
    fixed, start = used(script.body, "ARGV")
    last = script.arguments[-1] if script.arguments else None
    assert fixed == {slot.number for slot in script.arguments if not slot.repeated}
    assert start == (last.number if last and last.repeated else None)


@each
def test_variables_have_the_names_of_their_header(name: str) -> None:
    script = read(name)
    declared = {("KEYS", slot.number): slot.name for slot in script.keys}
    declared |= {("ARGV", slot.number): slot.name for slot in script.arguments}
    for line in script.body.splitlines():
        match = re.fullmatch(r"local ([\w, ]+) = ((?:tonumber\()?(?:KEYS|ARGV)\[.*)", line)
        if not match:
            continue
        names = match[1].split(", ")
        values = re.findall(r"(?:tonumber\()?(KEYS|ARGV)\[(\d+)\]\)?(?:, |$)", match[2])
        assert len(names) == len(values), line
        for variable, (table, number) in zip(names, values, strict=True):
            wanted = declared[table, int(number)]
            assert variable == f"{wanted}_id" or wanted.startswith(variable), line


@each
def test_types_are_those_of_redis_and_of_arguments(name: str) -> None:
    script = read(name)
    assert {slot.kind for slot in script.keys} <= set(TYPES)
    assert {slot.kind.split(" ")[-1] for slot in script.arguments} <= ARGUMENT_TYPES | {"each"}


@each
def test_every_key_is_spelled_by_keys_py(name: str) -> None:
    for slot in read(name).keys:
        match = re.match(r"(?:FlowKeys\.(\w+)|any key)", slot.text)
        assert match, slot.text
        if match[1] is None:
            continue
        assert hasattr(FlowKeys("rs", "flow"), match[1])


@each
def test_commands_suit_the_types_of_their_keys(name: str) -> None:
    script = read(name)
    kinds = {slot.name: slot.kind for slot in script.keys}
    for command, key in re.findall(r"redis\.p?call\('(\w+)', (\w+)\b", script.body):
        if command not in ANY_TYPE and key in kinds:
            assert command.startswith(TYPES[kinds[key]]), f"{command} {key}"


@each
def test_the_statuses_of_a_header_are_those_that_the_body_returns(name: str) -> None:
    script = read(name)
    words = set(re.findall(r"\{ '([A-Z_]{2,})'", script.body))
    words |= set(re.findall(r"\bstatus = '([A-Z_]+)'", script.body))
    words |= set(re.findall(r"local status, \w+ = '([A-Z_]+)'", script.body))

    assert words == set(script.statuses)
    assert len(script.statuses) == len(set(script.statuses))


@each
def test_every_status_is_known_to_the_coroutine_of_its_script(name: str) -> None:
    python = "".join((FOLDER.parent / module).read_text() for module in MODULES)
    coroutine = re.search(
        rf"    async def {name}\(.*?(?=\n    async def |\n    @staticmethod|\nclass |\Z)", python, re.DOTALL
    )
    assert coroutine, "one coroutine for each script"
    # What every write may answer is dealt with in one place.
    shared = python.replace(coroutine[0], "")
    for status in read(name).statuses:
        assert re.search(rf"\b{status}\b", coroutine[0], re.IGNORECASE) or f'b"{status}"' in shared, status


def test_there_is_a_coroutine_for_every_script_and_no_other() -> None:
    assert sorted(scripting.NAMES) == NAMES


@each
def test_what_a_script_includes_it_uses(name: str) -> None:
    script = read(name)
    whole = script.body
    for part in script.includes:
        others = "".join((FOLDER / "shared" / f"{p}.lua").read_text() for p in script.includes if p != part)
        text = (FOLDER / "shared" / f"{part}.lua").read_text()
        functions = re.findall(r"^local function (\w+)", text, re.MULTILINE)
        assert any(re.search(rf"\b{function}\(", whole + others) for function in functions), part


@pytest.mark.parametrize("part", SHARED)
def test_every_shared_part_is_included_somewhere(part: str) -> None:
    assert any(part in read(name).includes for name in NAMES)


@pytest.mark.parametrize("part", SHARED)
def test_a_shared_part_says_what_it_is_for(part: str) -> None:
    assert (FOLDER / "shared" / f"{part}.lua").read_text().startswith("-- ")


@each
def test_a_script_stays_readable(name: str) -> None:
    script = read(name)
    assert len(script.body.splitlines()) <= 160
    assert len(scripting.source(name).text) < 16_384


@each
def test_a_script_does_not_choose_at_random_or_read_the_clock_of_lua(name: str) -> None:
    assert not re.search(r"math\.random|os\.(time|clock|date)", scripting.source(name).text.decode())


@each
def test_large_numbers_are_never_printed_in_floating_point(name: str) -> None:
    # On real servers `..` and tostring print µs as 1.7e+15.
    text = scripting.source(name).text.decode()
    assert not re.search(r"(tostring\((us|time|score|latest|now)\b)|(\.\. (us|score|last_us|latest)\b)", text)


# --- globals: what luac -l would list ---------------------------------------------------------------


class Chunk:
    """A reader of Lua 5.1 bytecode, as far as the names of globals go."""

    GETGLOBAL, SETGLOBAL = 5, 7

    def __init__(self, data: bytes) -> None:
        assert data[:5] == b"\x1bLua\x51"
        self._data = data
        self._at = 12
        self._size = {4: "<I", 8: "<Q"}[data[8]]
        assert data[6:8] == b"\x01\x04"
        self.read: set[str] = set()
        self.written: set[str] = set()
        self._function()

    def _take(self, form: str) -> int:
        value: int = struct.unpack_from(form, self._data, self._at)[0]
        self._at += struct.calcsize(form)
        return value

    def _text(self) -> str:
        size = self._take(self._size)
        self._at += size
        return self._data[self._at - size : self._at - 1].decode(errors="replace") if size else ""

    def _function(self) -> None:
        self._text()
        self._at += 12  # lines and counts
        code = [self._take("<I") for _ in range(self._take("<I"))]
        constants = [self._constant() for _ in range(self._take("<I"))]
        for _ in range(self._take("<I")):
            self._function()
        lines = self._take("<I")
        self._at += 4 * lines
        for _ in range(self._take("<I")):
            self._text()
            self._at += 8
        for _ in range(self._take("<I")):
            self._text()
        for word in code:
            operation, constant = word & 0x3F, word >> 14
            if operation == self.GETGLOBAL:
                self.read.add(constants[constant])
            elif operation == self.SETGLOBAL:
                self.written.add(constants[constant])

    def _constant(self) -> str:
        kind = self._take("<B")
        if kind == 4:
            return self._text()
        self._at += {0: 0, 1: 1, 3: 8}[kind]
        return ""


def compiled(code: bytes) -> Chunk:
    runtime = lupa.lua51.LuaRuntime(encoding=None)
    dump = runtime.eval(b"function(text) return string.dump(assert(loadstring(text))) end")
    return Chunk(dump(code))


def test_the_scan_sees_globals() -> None:
    chunk = compiled(b"local a = KEYS[1]; function leak() b = c end; return a")

    assert (chunk.read, chunk.written) == ({"KEYS", "c"}, {"leak", "b"})


@each
def test_a_script_leaks_no_global(name: str) -> None:
    assert compiled(scripting.source(name).text).written == set()


@each
def test_a_script_reads_only_globals_that_redis_has(name: str) -> None:
    assert compiled(scripting.source(name).text).read <= PROVIDED


@each
def test_no_name_stands_for_two_keys_or_two_arguments(name: str) -> None:
    script = read(name)
    for table in (script.keys, script.arguments):
        assert len({slot.name for slot in table}) == len(table)
