"""Vivado: the batch script that builds a bitstream, and what its reports say."""

from __future__ import annotations

from collections.abc import Sequence

from hwgen.flow.boards import Board


def vivado_tcl(board: Board, sources: Sequence[str], top: str) -> str:
    """A script for `vivado -mode batch` that runs in a folder with `sources` and `board.xdc`.

    It leaves `utilization.rpt`, `timing.rpt` and `board.bit`, and ends Vivado with exit code 1 when a command fails.
    """
    systemverilog = " ".join(name for name in sources if name.endswith(".sv"))
    verilog = " ".join(name for name in sources if name.endswith(".v"))
    reads = [f"read_verilog -sv {{{systemverilog}}}"] if systemverilog else []
    reads += [f"read_verilog {{{verilog}}}"] if verilog else []
    body = "\n    ".join(
        [
            *reads,
            "read_xdc board.xdc",
            f"synth_design -top {top} -part {board.part}",
            "opt_design",
            "place_design",
            "phys_opt_design",
            "route_design",
            "report_utilization -file utilization.rpt",
            "report_timing_summary -file timing.rpt",
            "write_checkpoint -force routed.dcp",
            "# The streams have no pins on this board: they end where its processing system is to be joined.",
            "set_property SEVERITY Warning [get_drc_checks {NSTD-1 UCIO-1}]",
            "write_bitstream -force board.bit",
        ]
    )
    return (
        f"# Builds board.bit for {board.name} ({board.part}): vivado -mode batch -source build.tcl\n"
        f'if {{[catch {{\n    {body}\n}} message]}} {{\n    puts stderr "ERROR: $message"\n    exit 1\n}}\nexit 0\n'
    )
