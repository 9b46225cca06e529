"""Cores to take away: self-contained Verilog, a bench with vectors that needs no hwgen, and what synthesis says.

A folder holds NAME.v, ip.json, vectors.json, the bench (Makefile, test_ip.py, ip_bench.py, README.md), resources.json
and resources.txt, and for simulators models of the cells of a family that NAME.v instantiates. Cores: `dot_core`,
`lmul_core`.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from amaranth.hdl import Value

from hwgen import golden
from hwgen.errors import HwgenError
from hwgen.formats import Block, Codes, DynamicFixed, Format
from hwgen.formats.catalog import AnyFormat
from hwgen.gateware.arith.lmul import LMul
from hwgen.gateware.dotproduct.block import BlockDot, element_of
from hwgen.gateware.dotproduct.dot import DotProduct
from hwgen.gateware.dotproduct.dsp import DspDot, dot_unit
from hwgen.gateware.verilog import to_verilog
from hwgen.tools.files import atomic_dir, share, write_atomic
from hwgen.tools.resources import FAMILIES, Family
from hwgen.tools.yosys import NOTES, synthesise
from hwgen.version import __version__

# What the header says of a multiplier whose name does not.
PRODUCTS = {"dsp": "exact, on DSPs"}

# Models of cells that synthesis knows itself, and the families that have them.
MODELS: dict[str, Family] = {"cells_xcup.sv": "xcup", "dsp_xcup.sv": "xcup", "dsp_ecp5.sv": "ecp5"}

BENCH = ("Makefile", "test_ip.py", "ip_bench.py", "README.md")
_MODULE = re.compile(r"^module (\w+)", re.MULTILINE)
REPORTED: tuple[Family, ...] = ("ecp5", "xcup")
VECTORS = 600


@dataclass(frozen=True)
class Core:
    """A core before it is written.

    flow: "pipeline", "combinational" or "stream" (sim/ip/ip_bench.py). ports: (name, direction, bits, meaning).
    arithmetic: what it computes, a sentence a line. vectors: what goes in and must come out, as the bench reads it.
    """

    name: str
    component: Any
    flow: str
    latency: int
    interval: int
    ports: tuple[tuple[str, str, int, str], ...]
    arithmetic: tuple[str, ...]
    vectors: Any
    count: int

    def header(self) -> str:
        """The comment on top of the Verilog: interface, latency and arithmetic."""
        lines = [f"{self.name}, made by hwgen {__version__}", "", *self.arithmetic, "", *_timing(self), "", "Ports:"]
        lines += [f"  {way:6} {name:20} {bits:5} bits  {what}" for name, way, bits, what in self.ports]
        return "".join(f"// {line}".rstrip() + "\n" for line in lines)

    def to_json(self, models: Sequence[str] = ()) -> dict[str, Any]:
        """What programs read: ip.json. models: files that a simulator needs beside the source."""
        return {
            "name": self.name,
            "sources": [f"{self.name}.v"],
            "models": list(models),
            "flow": self.flow,
            "latency": self.latency,
            "interval": self.interval,
            "vectors": self.count,
            "arithmetic": list(self.arithmetic),
            "inputs": [name for name, way, _, _ in self.ports if way == "input"],
            "outputs": [name for name, way, _, _ in self.ports if way == "output"],
            "ports": [
                {"name": name, "direction": way, "bits": bits, "meaning": what} for name, way, bits, what in self.ports
            ],
        }


def _timing(core: Core) -> list[str]:
    if core.flow == "combinational":
        return ["Combinational: no clock."]
    if core.flow == "stream":
        return [
            "Streams: a beat passes on a clock with NAME__valid and NAME__ready high; NAME__payload holds still until",
            f"then. Latency: {core.latency} clocks at least.",
        ]
    return [
        f"Latency: {core.latency} clocks with `enable` high, from inputs with `valid` to outputs with `valid_out`.",
        f"Initiation interval: {core.interval}. `rst` is synchronous and clears only `valid_out` and what leads to it.",
    ]


def check_family(name: str) -> Family:
    """`name` as a family; raises HwgenError for one whose delays are not known."""
    for family in FAMILIES:
        if family == name:
            return family
    raise HwgenError(f"no delays are known for the FPGA family {name!r}, only for {', '.join(FAMILIES)}")


def emit(core: Core, folder: Path, *, families: Sequence[Family] = REPORTED) -> dict[str, Any]:
    """Write `folder` and give its report: resources by family, each with where it is from.

    A core with cells of one family is reported for that one only. The folder is replaced as a whole if it holds a core;
    raises HwgenError if it holds anything else.
    """
    text = to_verilog(core.component, core.name)
    models = models_of(text)
    verilog = core.header() + _cells_note(models) + text
    families = [family for family in families if all(MODELS[model] == family for model in models)]
    with atomic_dir(folder, "ip.json") as path:
        source = path / f"{core.name}.v"
        source.write_text(verilog, encoding="utf-8")
        report = resources(core.name, source, path / "synthesis", families)
        for name in BENCH:
            shutil.copyfile(share("sim", "ip", name), path / name)
        for model in models:
            shutil.copyfile(share("rtl", model), path / model)
        (path / "ip.json").write_text(json.dumps(core.to_json(models), indent=1) + "\n", encoding="utf-8")
        (path / "vectors.json").write_text(json.dumps(core.vectors), encoding="utf-8")
        write_atomic(path / "resources.json", json.dumps(report, indent=1) + "\n")
        write_atomic(path / "resources.txt", resource_text(core.name, report))
    return report


def models_of(verilog: str) -> tuple[str, ...]:
    """The model files, of `MODELS`, that have a cell which `verilog` instantiates."""
    used = set(re.findall(r"^ *(\w+) (?:#\(|\S+ \()", verilog, re.MULTILINE))
    return tuple(model for model in MODELS if used & set(re.findall(_MODULE, share("rtl", model).read_text("utf-8"))))


def _cells_note(models: Sequence[str]) -> str:
    if not models:
        return ""
    families = ", ".join(sorted({MODELS[model] for model in models}))
    return f"// It instantiates cells of {families}; a simulator needs models of them: {', '.join(models)}.\n"


def resources(name: str, source: Path, folder: Path, families: Sequence[Family]) -> dict[str, Any]:
    """Resources by family, from synthesis with Yosys; the folder is removed again."""
    report: dict[str, Any] = {}
    for family in families:
        found = synthesise([source], name, family, folder / family, timeout=1800)
        report[family] = {**found.statistics.total.to_json(), "from": "synthesis (Yosys)", "note": NOTES[family]}
    shutil.rmtree(folder, ignore_errors=True)
    return report


def resource_text(name: str, report: Mapping[str, Any]) -> str:
    """The report for people."""
    lines = [f"{name}: resources after synthesis with Yosys, not placed", ""]
    lines.append(f"{'family':8}{'LUT':>8}{'FF':>8}{'carry':>8}{'DSP':>6}{'BRAM':>6}")
    for family, row in report.items():
        cells = ["?" if row[kind] is None else f"{row[kind]:g}" for kind in ("lut", "ff", "carry", "dsp", "bram")]
        lines.append(f"{family:8}{cells[0]:>8}{cells[1]:>8}{cells[2]:>8}{cells[3]:>6}{cells[4]:>6}")
    lines += [f"{family}: {row['note']}" for family, row in report.items() if row["note"]]
    return "\n".join(lines) + "\n"


def packed(codes: Codes, bits: int) -> list[str]:
    """Rows of codes as one integer each, lane 0 in the lowest bits, in decimal (JSON numbers end at 2**53)."""
    found = []
    for row in np.atleast_2d(codes):
        total = 0
        for lane, code in enumerate(row):
            total |= (int(code) & ((1 << bits) - 1)) << (lane * bits)
        found.append(str(total))
    return found


def draw(fmt: Format, rows: int, lanes: int, rng: np.random.Generator) -> Codes:
    """Random codes, NaN and infinity in few rows; the first rows hold the ends of the range and zeros."""
    codes = fmt.codes()
    finite = codes[fmt.is_number(codes)]
    drawn = rng.choice(finite, (rows, lanes))
    special = codes[~fmt.is_number(codes)]
    if len(special):
        rare = rng.random((rows, lanes)) < 0.05 / lanes
        drawn = np.where(rare, rng.choice(special, (rows, lanes)), drawn)
    order = finite[np.argsort(fmt.decode(finite), kind="stable")]
    zero = finite[np.argmin(np.abs(fmt.decode(finite)))]
    drawn[:3] = np.array([order[-1], order[0], zero])[:rows, None]
    return np.asarray(drawn, dtype=np.int64)


def dot_core(
    a: AnyFormat,
    b: AnyFormat,
    lanes: int,
    *,
    multiplier: str = "exact",
    pipeline: int | str = "auto",
    megahertz: float = 200.0,
    family: Family = "xcup",
    placed: bool = False,
    seed: int = 1,
) -> Core:
    """A dot product of `lanes` lanes: of blocks if `a` or `b` is a block format, whose size `lanes` must be.

    multiplier: of `DotProduct`, or "dsp". placed: as for `DotProduct`.
    Raises HwgenError for lanes that are not the block size, and what `DotProduct`, `DspDot` and `BlockDot` raise.
    """
    for fmt in (a, b):
        if isinstance(fmt, DynamicFixed):
            raise HwgenError(f"a dot product of {fmt.name} is one of its integers: give int{fmt.bits}")
        if isinstance(fmt, Block) and fmt.size != lanes:
            raise HwgenError(f"{fmt.name} has blocks of {fmt.size}: a dot product of it has as many lanes, not {lanes}")
    assert not isinstance(a, DynamicFixed)
    assert not isinstance(b, DynamicFixed)
    unit: DotProduct | DspDot | BlockDot
    if isinstance(a, Block) or isinstance(b, Block):
        unit = BlockDot(a, b, multiplier, pipeline, megahertz, family, placed=placed)
        dot = unit.dot
    else:
        dot = unit = dot_unit(a, b, lanes, multiplier, pipeline, megahertz, family, placed=placed)
    kind = PRODUCTS.get(multiplier, "exact" if multiplier == "exact" else f"{multiplier} products, summed exactly")
    text = [f"Dot product of {lanes} lanes of {a.name} and {b.name}: {kind}."]
    if isinstance(unit, BlockDot):
        text.append("sum * 2^exponent = (sum over lanes of a * b) * scale of a * scale of b; nothing is rounded.")
        if any(isinstance(fmt, Block) and fmt.has_tensor_scale for fmt in (a, b)):
            text.append("The tensor scales are left out: multiply by them outside.")
    else:
        text.append(f"The sum over lanes of a * b is sum * 2^{dot.lsb}; nothing is rounded.")
    text.append(f"Codes are packed with lane 0 in the lowest bits. Estimated for {megahertz:g} MHz on {family}.")
    flow = "pipeline" if unit.latency else "combinational"
    ports = _dot_ports(unit, flow)
    vectors = _dot_vectors(unit, dot, [name for name, way, _, _ in ports if way == "input"], seed)
    return Core("dot", unit, flow, unit.latency, 1, ports, tuple(text), vectors, len(vectors))


def _dot_ports(unit: DotProduct | DspDot | BlockDot, flow: str) -> tuple[tuple[str, str, int, str], ...]:
    ports = []
    if flow == "pipeline":
        ports += [("clk", "clock", 1, "rising edge"), ("rst", "reset", 1, "synchronous")]
        ports += [("enable", "control", 1, "lets all registers move"), ("valid", "control", 1, "inputs count")]
        ports += [("valid_out", "control", 1, "outputs count")]
    for name, fmt in (("a", unit.a_format), ("b", unit.b_format)):
        element = element_of(fmt)
        ports.append((name, "input", element.bits * unit.lanes, f"{unit.lanes} codes of {element.name}"))
        if isinstance(fmt, Block):
            ports.append((f"{name}_scale", "input", fmt.scale.bits, f"scale code, {fmt.scale.name}"))
    ports.append(("sum", "output", len(Value.cast(unit.sum)), "two's complement" if unit.shape.signed else "unsigned"))
    if isinstance(unit, BlockDot):
        ports.append(("exponent", "output", len(unit.exponent), "two's complement, of the sum's lowest bit"))
    ports.append(("nan", "output", 1, "an operand or a scale was NaN or infinite; the other outputs mean nothing"))
    return tuple(ports)


def _dot_vectors(
    unit: DotProduct | DspDot | BlockDot, dot: DotProduct | DspDot, inputs: Sequence[str], seed: int
) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    sides = [draw(element, VECTORS, unit.lanes, rng) for element in (dot.a_format, dot.b_format)]
    want = golden.dot(sides[0][:, None, :], sides[1][:, :, None], dot.a_format, dot.b_format, dot.multiplier)
    whole, nan = want.integers()[:, 0, 0], want.nan[:, 0, 0]
    exponent = np.full(VECTORS, want.exponent)
    given = {"a": packed(sides[0], dot.a_format.bits), "b": packed(sides[1], dot.b_format.bits)}
    for name, fmt in (("a", unit.a_format), ("b", unit.b_format)):
        if not isinstance(fmt, Block):
            continue
        codes = draw(fmt.scale, VECTORS, 1, rng)
        given[f"{name}_scale"] = packed(codes, fmt.scale.bits)
        significand, power = fmt.scale.significand_exponent(codes[:, 0])
        nan = nan | ~fmt.scale.is_number(codes[:, 0])
        whole, exponent = (whole * significand if fmt.scale.mantissa_bits else whole), exponent + power
    vectors = []
    for row in range(VECTORS):
        outputs: dict[str, str | None] = {"sum": _masked(whole[row], unit.sum, bool(nan[row]))}
        if isinstance(unit, BlockDot):
            outputs["exponent"] = _masked(exponent[row], unit.exponent, bool(nan[row]))
        outputs["nan"] = str(int(nan[row]))
        vectors.append({"inputs": {name: given[name][row] for name in inputs}, "outputs": outputs})
    return vectors


def _masked(number: int, port: Value, meaningless: bool) -> str | None:
    return None if meaningless else str(int(number) & ((1 << len(Value.cast(port))) - 1))


def lmul_core(fmt: AnyFormat, *, variant: str = "lmul", family: str = "", seed: int = 1) -> Core:
    """A multiplier of two codes of one minifloat that adds them; raises what `LMul` raises."""
    if not isinstance(fmt, Format):
        raise HwgenError(
            f"{variant} multiplies codes of one minifloat, and {fmt.name} is a format of blocks or tensors"
        )
    unit = LMul(fmt, fmt, variant, family=family)
    rng = np.random.default_rng(seed)
    codes = fmt.codes()
    if len(codes) <= 16:
        a, b = (side.ravel() for side in np.meshgrid(codes, codes))
    else:
        a, b = rng.choice(codes, (2, 4 * VECTORS))
    products = golden.lmul(a, b, fmt, variant)
    vectors = [
        {"inputs": {"a": str(x), "b": str(y)}, "outputs": {"o": str(z)}}
        for x, y, z in zip(a.tolist(), b.tolist(), products.tolist(), strict=True)
    ]
    ports = (
        ("a", "input", fmt.bits, f"code of {fmt.name}"),
        ("b", "input", fmt.bits, f"code of {fmt.name}"),
        ("o", "output", fmt.bits, f"code of {fmt.name}"),
    )
    text = (
        f"Product of two {fmt.name} codes by {variant} (arXiv 2410.00907): the packed codes are added.",
        "Zero and subnormal operands give +0, as does what falls below the least normal number; the rest saturates.",
    )
    return Core("lmul", unit, "combinational", 0, 1, ports, text, vectors, len(vectors))
