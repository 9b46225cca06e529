"""Random networks through golden model and gateware, and broken files through the importer, re-runnable by seeds.

    python -m tests.fuzz --seeds 0:50 --minutes 20
    python -m tests.fuzz --what reals --seeds 0:2000
    python -m tests.fuzz --what files --seeds 0:2000

Each seed is one network: its golden model is compared with the definitions of its operations, its gateware with both
at every node, with random pauses at both ends; latency and interval with their formulas. Every `--verilator`-th network
goes through the emitted Verilog in Verilator too. Or it is a network of real-valued operations, of which freezing keeps
every code but proven ties. Or it is one QONNX file with something wrong, which is to be imported or refused by an
HwgenError. A failure prints the seed and what was drawn, and leaves a folder.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from amaranth.hdl import UnusedElaboratable

from hwgen.errors import HwgenError, MismatchError, ToolFailedError
from tests.fuzz import breaks, cases, engines, files, reals


@dataclass
class Tally:
    """What has come of the seeds so far. refused: messages without their numbers, with how often and the first seed."""

    folder: Path
    done: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    refused: dict[str, tuple[int, int]] = field(default_factory=dict)
    failed: list[int] = field(default_factory=list)

    def refuse(self, seed: int, error: HwgenError) -> None:
        text = re.sub(r"\d+", "#", str(error))
        count, first = self.refused.get(text, (0, seed))
        self.refused[text] = count + 1, first

    def fail(self, seed: int, drawn: str, error: BaseException) -> None:
        self.failed.append(seed)
        text = f"seed {seed}\n{drawn}\n{type(error).__name__}: {error}\n"
        print(f"FAILED {text}", flush=True)
        place = self.folder / f"seed-{seed}"
        place.mkdir(parents=True, exist_ok=True)
        (place / "what.txt").write_text(text + "".join(traceback.format_exception(error)))

    def show(self) -> None:
        print(f"{self.done} done, {len(self.failed)} failed: {self.failed}")
        print(", ".join(f"{kind} {count}" for kind, count in sorted(self.kinds.items())))
        for text, (count, first) in sorted(self.refused.items(), key=lambda one: -one[1][0]):
            print(f"refused {count}, first by seed {first}: {text}")


def main(arguments: list[str]) -> int:
    # What is refused while it is built leaves components behind.
    warnings.simplefilter("ignore", UnusedElaboratable)
    options = _options(arguments)
    first, last = (int(n) for n in options.seeds.split(":"))
    deadline = time.monotonic() + 60 * options.minutes
    tally = Tally(options.folder)
    for seed in range(first, last):
        if time.monotonic() > deadline:
            break
        if options.what == "files":
            _file(seed, tally)
        elif options.what == "reals":
            _real(seed, tally)
        else:
            _network(seed, tally, bool(options.verilator) and seed % options.verilator == 0)
    tally.show()
    return 1 if tally.failed else 0


def _network(seed: int, tally: Tally, verilator: bool) -> None:
    case = cases.case(seed)
    if case is None:
        return
    tally.done += 1
    tally.kinds.update({node.op.kind for node in case.graph.nodes})
    try:
        engines.in_amaranth(case)
        if verilator:
            engines.in_verilator(case, tally.folder / "simulators")
    except Exception as error:  # Whatever else a draw raises is what is looked for: kept with its seed, and told.
        if isinstance(error, HwgenError) and not isinstance(error, MismatchError | ToolFailedError):
            tally.refuse(seed, error)
        else:
            tally.fail(seed, str(case), error)


def _real(seed: int, tally: Tally) -> None:
    drawn = reals.graph_of(seed)
    if drawn is None:
        return
    tally.done += 1
    try:
        frozen = reals.check(drawn[0], seed, exact=drawn[1])
        tally.kinds.update({node.op.kind for node in frozen.nodes})
    except HwgenError as error:
        tally.refuse(seed, error)
    except Exception as error:  # as in `_network`
        tally.fail(seed, reals.told(drawn[0]), error)


def _file(seed: int, tally: Tally) -> None:
    tally.done += 1
    try:
        with tempfile.TemporaryDirectory() as folder:
            graph = files.load(breaks.broken(seed), Path(folder))
        tally.kinds.update({node.op.kind for node in graph.nodes})
    except HwgenError as error:
        tally.refuse(seed, error)
    except Exception as error:  # as in `_network`: a traceback where a message belongs
        tally.fail(seed, files.told(breaks.broken(seed)), error)


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--what", choices=("networks", "reals", "files"), default="networks")
    parser.add_argument("--seeds", default="0:20", help="first:last, the last one left out")
    parser.add_argument("--minutes", type=float, default=10.0, help="stop after so many")
    parser.add_argument("--verilator", type=int, default=10, help="each so-many-th network in Verilator too; 0: none")
    parser.add_argument("--folder", type=Path, default=Path("build/fuzz"), help="where simulators and failures go")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
