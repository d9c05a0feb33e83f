"""``python -m benchmarks``: redis-sessions, raw Redis and what one would use instead, in one run.

Is it faster and smaller than the others, and how far from the limit of Redis itself?
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from benchmarks import charts, gate, report
from benchmarks.questions import questions
from benchmarks.subjects import ENTRIES, OURS
from benchmarks.suite import PARTS, Plan, TooNoisyError, run

if TYPE_CHECKING:
    from benchmarks.results import Results

_ROOT = Path(__file__).parents[1]
_TOO_NOISY = 3


def main() -> int:
    arguments = _parser().parse_args()
    console = Console(width=None if sys.stdout.isatty() else 200)
    pythons = {"own": sys.executable}
    if not arguments.quick or arguments.subjects:
        for name in ("peers", "adk", "langflow"):
            path: Path = getattr(arguments, name)
            if path.exists():
                pythons[name] = str(path)
            else:
                console.print(
                    f"{path} is not there: what needs it is left out (make bench makes it)", style="bold red"
                )
    plan = Plan(
        arguments.quick,
        pythons,
        tuple(arguments.parts or PARTS),
        frozenset(arguments.subjects or ()),
        frozenset(arguments.keys or ()),
        arguments.anyway or arguments.check,  # which looks at times only where there is no noise
        arguments.minutes,
    )
    # Ended from outside, as by timeout(1), it stops its servers too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        with console.status("starting") as status:

            def tell(text: str) -> None:
                if console.is_terminal:
                    status.update(text)
                elif arguments.verbose:
                    console.print(text, style="dim")

            results = asyncio.run(run(plan, tell=tell))
    except TooNoisyError as error:
        console.print(f"This machine is too noisy to tell: {error}. Nothing was measured.", style="bold red")
        console.print("Stop what else runs, or look at the figures all the same with --anyway.")
        return _TOO_NOISY
    console.print(", ".join(f"{name} {value}" for name, value in results.about.items()))
    console.print(f"noise: {results.noise}")
    if arguments.json:
        results.save(arguments.json)  # before anything else can fail
    report.show(results, console)
    console.print(f"took {results.seconds:,.0f} s, of {plan.seconds:,.0f} at most")
    if arguments.charts:
        for path in charts.draw(results, arguments.charts):
            console.print(f"wrote {path}")
    if arguments.write_bounds:
        gate.write(gate.bounds_of(results, gate.read()))
        console.print(f"wrote {gate.BOUNDS}")
    if arguments.check:
        return _check(results, plan, console)
    return 0


def _check(results: Results, plan: Plan, console: Console) -> int:
    """Times that are over their bounds are asked for once more, alone, and must be over them again."""
    bounds = gate.read()
    if results.noise.too_noisy:
        console.print("too noisy to tell times: only counts, memory and CPU times are compared", style="dim")
    over = gate.exceeded(results, bounds)
    if keys := gate.questions_of(over) & {question.key for question, _ in results.rows}:
        for line in over.values():
            console.print(f"{line}; asked once more", style="dim")
        again = dataclasses.replace(plan, parts=("questions",), keys=keys, subjects=frozenset({OURS.name}))
        confirmed = gate.exceeded(asyncio.run(run(again, tell=lambda _: None)), bounds)
        over = {
            name: line
            for name, line in over.items()
            if name in confirmed or not gate.questions_of({name: line}) & keys
        }
    for line in over.values():
        console.print(line, style="bold red")
    return int(bool(over))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two minutes: raw and redis-sessions only")
    parser.add_argument(
        "--only", dest="parts", nargs="+", choices=PARTS, metavar="PART", help=", ".join(PARTS)
    )
    keys = [question.key for question in questions(quick=False)]
    parser.add_argument(
        "--questions", dest="keys", nargs="+", choices=keys, metavar="KEY", help=", ".join(keys)
    )
    names = [entry.name for entry in ENTRIES]
    parser.add_argument("--subjects", nargs="+", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument(
        "--peers", type=Path, default=_ROOT / ".venv-peers/bin/python", help="their interpreter"
    )
    parser.add_argument(
        "--adk", type=Path, default=_ROOT / ".venv-adk/bin/python", help="google-adk-community's interpreter"
    )
    parser.add_argument(
        "--langflow", type=Path, default=_ROOT / ".venv-langflow/bin/python", help="Langflow's interpreter"
    )
    parser.add_argument(
        "--minutes",
        type=float,
        help="how long it may take (15, quick 2): with less time there are fewer rounds",
    )
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--charts", type=Path, help="draw charts into this folder")
    parser.add_argument(
        "--anyway", action="store_true", help="measure though the machine is too noisy to tell"
    )
    parser.add_argument(
        "--check", action="store_true", help="exit with 1 when something is over benchmarks/bounds.json"
    )
    parser.add_argument(
        "--write-bounds",
        action="store_true",
        help="make what was measured the bounds that --check compares with",
    )
    parser.add_argument("--verbose", action="store_true", help="say what is being measured")
    return parser


if __name__ == "__main__":
    sys.exit(main())
