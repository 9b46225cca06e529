"""`hwgen ip`: cores to take away, without a network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hwgen import console
from hwgen.errors import HwgenError

if TYPE_CHECKING:
    from hwgen.ip import Core

app = typer.Typer(no_args_is_help=True, help="Write a core of its own: Verilog, bench, vectors, resources.")

Out = Annotated[Path, typer.Option("--out", "-o", help="Folder of the core.")]
Multiplier = Annotated[
    str,
    typer.Option("--multiplier", help="exact, dsp (exact, on DSPs), lmul, mitchell, lmul_formula, lmul_formula_trunc."),
]
Pipeline = Annotated[str, typer.Option("--pipeline", help="Number of registers on the way, or auto.")]
Clock = Annotated[float, typer.Option("--clock", min=1, help="Clock in MHz that auto aims at, by an estimate.")]
FamilyName = Annotated[str, typer.Option("--family", help="FPGA family of that estimate: xcup, ecp5 or ice40.")]
Json = Annotated[bool, typer.Option("--json", help="Print figures as JSON.")]


def _registers(pipeline: str) -> int | str:
    return int(pipeline) if pipeline.isdigit() else pipeline


def _write(core: Core, out: Path, as_json: bool) -> None:
    from hwgen import ip

    with console.progress(f"writing {core.name}") as tell:
        tell("synthesising")
        report = ip.emit(core, out)
    if as_json:
        console.print_json({**core.to_json(), "resources": report})
        return
    console.out.print(core.header().replace("// ", "").replace("//", ""), markup=False)
    console.out.print(ip.resource_text(core.name, report), markup=False)
    console.out.print(f"written to {out}; its bench runs with: make -C {out}")


@app.command()
def dot(
    out: Out,
    a: Annotated[str, typer.Option("--a", help="Format of the first operand: see hwgen formats.")],
    b: Annotated[str, typer.Option("--b", help="Format of the second operand.")],
    lanes: Annotated[int, typer.Option("--lanes", help="Lanes; of block formats, their block size.")] = 32,
    multiplier: Multiplier = "exact",
    pipeline: Pipeline = "auto",
    clock: Clock = 200.0,
    family: FamilyName = "xcup",
    placed: Annotated[
        bool, typer.Option("--placed", help="Cells of xcup placed by hand, fewer, where an operand is a minifloat.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a dot product with exact sums, of plain or block-scaled operands."""
    from hwgen import ip
    from hwgen.formats import get

    chosen = ip.check_family(family)
    core = ip.dot_core(
        get(a),
        get(b),
        lanes,
        multiplier=multiplier,
        pipeline=_registers(pipeline),
        megahertz=clock,
        family=chosen,
        placed=placed,
    )
    _write(core, out, as_json)


@app.command()
def lmul(
    out: Out,
    format: Annotated[str, typer.Option("--format", help="A minifloat.")],  # noqa: A002
    variant: Annotated[str, typer.Option("--variant", help="lmul, mitchell or lmul_formula_trunc.")] = "lmul",
    as_json: Json = False,
) -> None:
    """Write a multiplier that adds codes: L-Mul or a relative."""
    from hwgen import ip
    from hwgen.formats import get

    _write(ip.lmul_core(get(format), variant=variant), out, as_json)


@app.command()
def quantize(
    out: Out,
    to: Annotated[str, typer.Option("--to", help="Format of the codes: a scalar one, mx..., or dfp16 and the like.")],
    bits: Annotated[int | None, typer.Option("--bits", help="Bits of the signed numbers; 16, for dfp 32.")] = None,
    lsb: Annotated[int, typer.Option("--lsb", help="They come in units of 2^lsb.")] = 0,
    lanes: Annotated[int, typer.Option("--lanes", help="Numbers a beat; of block formats a divisor of the size.")] = 8,
    frame: Annotated[
        int | None, typer.Option("--frame", help="Numbers of a frame; of dfp those that share an exponent.")
    ] = None,
    rounding: Annotated[
        str, typer.Option("--rounding", help="half_even, half_up, half_away, zero, down, up, odd and others.")
    ] = "half_even",
    scale_mode: Annotated[
        str | None, typer.Option("--scale-mode", help="Of block formats: floor (the default), even or ceil.")
    ] = None,
    overflow: Annotated[str, typer.Option("--overflow", help="Of minifloats: saturate or ieee.")] = "saturate",
    as_json: Json = False,
) -> None:
    """Write a quantizer: a stream of integers in, a stream of codes out, with scales where the format has them."""
    from hwgen import ip_quantize
    from hwgen.formats import DynamicFixed, get

    fmt = get(to)
    usual = 32 if isinstance(fmt, DynamicFixed) else 16
    core = ip_quantize.quantize_core(
        fmt,
        usual if bits is None else bits,
        lanes,
        lsb=lsb,
        frame=frame,
        rounding=rounding,
        scale_mode=scale_mode,
        overflow=overflow,
    )
    _write(core, out, as_json)


@app.command("mac-array")
def mac_array(
    out: Out,
    a: Annotated[str, typer.Option("--a", help="Format of A.")],
    b: Annotated[str, typer.Option("--b", help="Format of B.")],
    rows: Annotated[int, typer.Option("--rows", help="Rows of C that are worked on at a time.")] = 4,
    cols: Annotated[int, typer.Option("--cols", help="Columns of C that are worked on at a time.")] = 4,
    lanes: Annotated[int | None, typer.Option("--lanes", help="Lanes of a unit, for formats without blocks.")] = None,
    depth: Annotated[int, typer.Option("--depth", help="Blocks along the reduction that a tile holds.")] = 16,
    blocks: Annotated[int, typer.Option("--blocks", min=1, help="Most blocks that one sum is of.")] = 1024,
    accumulator: Annotated[
        str, typer.Option("--accumulator", help="Sums over blocks: fixed (exact) or fp32.")
    ] = "fixed",
    window: Annotated[
        tuple[int, int] | None,
        typer.Option("--window", help="Least and greatest sum of both scales' exponents, for fixed and MX formats."),
    ] = None,
    multiplier: Multiplier = "exact",
    pipeline: Pipeline = "auto",
    clock: Clock = 200.0,
    family: FamilyName = "xcup",
    as_json: Json = False,
) -> None:
    """Write an array of dot products that multiplies matrices of any size, tile by tile."""
    from hwgen import ip, ip_array
    from hwgen.formats import DynamicFixed, get
    from hwgen.gateware.dotproduct.array import MacArray

    left, right = get(a), get(b)
    if isinstance(left, DynamicFixed) or isinstance(right, DynamicFixed):
        raise HwgenError(f"an array of {a} and {b} is one of integers: give int16 and the like for dfp16")
    array = MacArray(
        rows,
        cols,
        left,
        right,
        lanes=lanes,
        depth=depth,
        blocks=blocks,
        accumulator=accumulator,
        window=window,
        multiplier=multiplier,
        pipeline=_registers(pipeline),
        megahertz=clock,
        family=ip.check_family(family),
    )
    shapes = ((rows, cols, min(3, blocks)), (2 * rows + 1, 3 * cols, min(depth + 1, blocks)), (1, 2, 1))
    _write(ip_array.mac_core(array, window, shapes), out, as_json)
