"""A report with every part filled in, and one where nothing is known."""

from __future__ import annotations

from hwgen.ir.figure import Figure, Source
from hwgen.report import (
    Accuracy,
    BitExactness,
    Compared,
    Confusion,
    Difference,
    HostSide,
    Layer,
    Report,
    Resource,
    Run,
    timing,
)


def figure(value: float | None, source: Source = "synthesis", unit: str = "", how: str = "") -> Figure:
    return Figure(value, source, unit, how)


def layer(name: str, kind: str, start: int, end: int, lut: float, **more: object) -> Layer:
    return Layer(
        name=name,
        kind=kind,
        cycles=figure(256, "estimate", how="(out / PE) * (in / SIMD) * positions"),
        start=figure(start, "simulation"),
        end=figure(end, "simulation"),
        lut=figure(lut, how="yosys synth_ecp5"),
        ff=figure(lut * 0.8 // 1),
        bram=figure(1 if kind == "MatVec" else 0),
        dsp=figure(None),
        **more,  # type: ignore[arg-type]
    )


def layers() -> tuple[Layer, ...]:
    """Three matrix units, each with its thresholds, and an argmax."""
    found = []
    for i, out in enumerate((32, 32, 10)):
        start = 260 * i
        found.append(
            layer(
                f"fc{i + 1}",
                "MatVec",
                start,
                start + 262,
                300 + 20 * out,
                pe=2,
                simd=4,
                weight_format="int4n",
                input_format="uint4",
                output_format="int13",
                accumulator_bits=13,
            )
        )
        found.append(
            layer(f"act{i + 1}", "Thresholds", start + 8, start + 264, 120, input_format="int13", output_format="uint4")
        )
    found.append(layer("argmax", "ArgMax", 790, 796, 42, input_format="int13", output_format="uint4"))
    return tuple(found)


def full() -> Report:
    counts = [[0] * 10 for _ in range(10)]
    for i in range(10):
        counts[i][i] = 34 + i % 3
    counts[3][8], counts[8][1], counts[9][5] = 2, 3, 1
    fmax = figure(82.13, "route", "MHz", "nextpnr-ecp5, median of 5 seeds")
    return Report(
        network="digits_mlp",
        graph_hash="9c1e" * 16,
        board="ulx3s",
        part="LFE5U-85F-6BG381C",
        command="hwgen bitstream digits_mlp.onnx --board ulx3s",
        tools={"hwgen": "0.1.0", "yosys": "0.70", "nextpnr-ecp5": "0.9", "verilator": "5.48"},
        accuracy=(
            Accuracy("float (Brevitas forward)", 350, 360, "digits, held-out fifth"),
            Accuracy("golden", 350, 360, "digits, held-out fifth"),
            Accuracy("simulated RTL", 350, 360, "digits, held-out fifth"),
        ),
        differences=(Difference("act1", 11520, 3, 3, "scale is not a power of two"), Difference("act2", 11520, 0, 0)),
        bit_exactness=BitExactness(
            frames=360,
            runs=(
                Run("no stalls", 360, 360, latency=797, interval=256.0),
                Run("random stalls", 360, 360, source_stall=0.3, sink_stall=0.5, seed=1),
            ),
            compared=(Compared("fc1", 5760), Compared("argmax", 360)),
            simulator="Verilator 5.48, cocotb 2.1",
        ),
        layers=layers(),
        resources=(
            Resource("LUT", figure(4120, "route", "LUT"), 83640),
            Resource("FF", figure(2911, "route"), 83640),
            Resource("BRAM", figure(5, "route"), 208),
            Resource("DSP", figure(None, "route"), 156),
        ),
        timing=timing(
            25.0,
            fmax,
            figure(797, "simulation", "cycles", "first input beat to last output beat"),
            figure(256, "simulation", "cycles", "slowest stage"),
            (78.4, 80.9, 82.13, 84.0, 88.25),
        ),
        confusion=Confusion(tuple(map(str, range(10))), tuple(map(tuple, counts))),
        host=HostSide(pre=("x / 16",), post=("label = argmax",)),
        warnings=("the input's scale is kept on the host", "a | and <b> in a text"),
    )


def bare() -> Report:
    nothing = figure(None, "route", "MHz")
    cycles = figure(None, "estimate", "cycles")
    return Report("net", "ab" * 32, "icebreaker", timing(None, nothing, cycles, cycles))
