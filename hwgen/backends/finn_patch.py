"""What FINN's RTL library is changed in, on copies, so that Verilator and Yosys read it; each with its cause."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

from hwgen.errors import HwgenError
from hwgen.tools.files import digest

LEFT_OUT = ("fifo_gauge.sv", "mvu_vvu_8sx9_dsp58.sv")
"""Files that no design of UltraScale+ or the 7 series elaborates: a FIFO of queues, for simulation, and DSP58 units."""


@dataclass(frozen=True)
class Patch:
    """In files whose name matches `name`, `old` becomes `new`, everywhere; `cause` says why.

    regex: `old` is a regular expression and `new` what takes its place, as `re.sub` has them.
    """

    name: str
    old: str
    new: str
    cause: str
    regex: bool = False


BEHAVIORAL = "HWGEN_BEHAVIORAL"
"""The macro under which FINN's matrix unit describes DSP slices instead of instantiating them."""

_CELLS = "the slices that go to the FPGA are simulated, with models of them, not a description of what they should do"

_LEAF_LOADS = """		typedef int unsigned  leaf_load_t[2*N-1];
		function leaf_load_t init_leaf_loads();
			automatic leaf_load_t  res;
			for(int unsigned  i = 2*N-1; i-- > N-1;)  res[i] = 1;
			for(int unsigned  i =   N-1; i-- >   0;)  res[i] = res[2*i+1] + res[2*i+2];
			return  res;
		endfunction : init_leaf_loads
		localparam leaf_load_t   LEAF_LOAD = init_leaf_loads();
"""

_LEAVES = """	localparam int unsigned  L = $clog2(N);  // Number of levels with reductions

	// hwgen: leaves at or below node i of the tree, level by level.
	function automatic int unsigned leaf_load(input int unsigned i);
		int unsigned lo, hi, from, to;
		leaf_load = 0;
		lo = i;
		hi = i;
		while(lo < 2*N-1) begin
			from = lo < N-1? N-1 : lo;
			to = hi < 2*N-1? hi + 1 : 2*N-1;
			if(from < to)  leaf_load = leaf_load + to - from;
			lo = 2*lo + 1;
			hi = 2*hi + 2;
		end
	endfunction
"""

_ABITS = """	typedef struct {
		int unsigned  lo;
		int unsigned  hi;
	} abits_t;
	function abits_t INIT_ABITS();
		automatic abits_t  abits = '{ lo: $clog2(DEPTH_REQ), hi: 0 };
		if(abits.lo > MIN_ABITS) begin
			// Consider Decomposition into lo + hi
			automatic int unsigned  hi_abits = $clog2(DEPTH_REQ - 2**(abits.lo-1));
			if(hi_abits < abits.lo - 1) begin
				abits.lo--;
				abits.hi = hi_abits < 1? 1 : hi_abits;
			end
		end
		return  abits;
	endfunction : INIT_ABITS
	localparam abits_t       ABITS      = INIT_ABITS();
"""

_ABITS_APART = """	// hwgen: the two sizes apart.
	localparam int unsigned  ALL_ABITS  = $clog2(DEPTH_REQ);
	localparam int unsigned  REST_ABITS = ALL_ABITS > MIN_ABITS? $clog2(DEPTH_REQ - 2**(ALL_ABITS-1)) : ALL_ABITS;
	localparam bit           SPLIT      = (ALL_ABITS > MIN_ABITS) && (REST_ABITS < ALL_ABITS - 1);
	localparam int unsigned  ABITS_LO   = SPLIT? ALL_ABITS - 1 : ALL_ABITS;
	localparam int unsigned  ABITS_HI   = !SPLIT? 0 : REST_ABITS < 1? 1 : REST_ABITS;
"""

_DIRECTIVE = "a directive inside a module is no Verilog (IEEE 1800-2017, 22.8), and Yosys' slang refuses it"

_DECLARED = "a net must be declared before it is used (IEEE 1800-2017, 6.5), and Yosys' slang insists"

_WIDTHS_LATE = r"(?s)(module \w+) \((.*?)parameter IN_WIDTH_PADDED = (\d+);\nparameter OUT_WIDTH_PADDED = (\d+);\n"

_WIDTHS_FIRST = r"\1 #(parameter IN_WIDTH_PADDED = \3, parameter OUT_WIDTH_PADDED = \4) (\2"

_PORTS = "the widths of ports must be declared before them (IEEE 1800-2017, 6.20.1), and Yosys' slang insists"

_WATCHDOG = "a check of DSP slices in a simulator, 100 ns long: no synthesis takes its delay"

_IFF = "a check for simulation on an edge with `iff`, which Yosys' slang does not synthesise"

_REVERSED = "in stage 0 the part select is [M-1:M], reversed, which Yosys' slang refuses; the shift gives the same bits"

_IN_GENERATE = (
    "Verilator evaluates no constant function of a generate block for a parameter, nor one that gives an array"
)

PATCHES = (
    Patch(
        "add_multi.sv",
        "	localparam int unsigned  L = $clog2(N);  // Number of levels with reductions\n",
        _LEAVES,
        _IN_GENERATE,
    ),
    Patch("add_multi.sv", _LEAF_LOADS, "", _IN_GENERATE),
    Patch("add_multi.sv", "LEAF_LOAD[i]", "leaf_load(i)", _IN_GENERATE),
    Patch("add_multi.sv", "LEAF_LOAD[LIDX]", "leaf_load(LIDX)", _IN_GENERATE),
    Patch("add_multi.sv", "LEAF_LOAD[RIDX]", "leaf_load(RIDX)", _IN_GENERATE),
    Patch("fifo.sv", _ABITS, _ABITS_APART, "Verilator evaluates no constant function that gives a structure"),
    Patch("fifo.sv", "`default_nettype none\n", "", _DIRECTIVE),
    Patch("fifo.sv", "`default_nettype wire\n", "", _DIRECTIVE),
    Patch("vpc.sv", "`default_nettype none\n", "", _DIRECTIVE),
    Patch("vpc.sv", "`default_nettype wire\n", "", _DIRECTIVE),
    Patch("axilite.sv", "	uwire  clr_rd;\n", "	uwire  clr_rd;\n	uwire  snk_re;\n", _DECLARED),
    Patch("axilite.sv", "	uwire  snk_re = ", "	assign  snk_re = ", _DECLARED),
    Patch("mvu.sv", "if(1) begin : blkRecoveryWatch", "if(0) begin : blkRecoveryWatch", _WATCHDOG),
    Patch("mvu.sv", "if(NARROW_WEIGHTS) begin : genNarrowCheck", "if(0) begin : genNarrowCheck", _IFF),
    Patch("thresholding.sv", "1 : p.ptr[M-1:SN+1] <", "1 : (p.ptr[M-1:0] >> (SN+1)) <", _REVERSED),
    Patch("mvu.sv", "`ifdef VERILATOR", f"`ifdef {BEHAVIORAL}", _CELLS),
    Patch("mvu.sv", "`ifndef VERILATOR", f"`ifndef {BEHAVIORAL}", _CELLS),
    Patch("ConvolutionInputGenerator_rtl_*_wrapper.v", _WIDTHS_LATE, _WIDTHS_FIRST, _PORTS, regex=True),
    Patch("fifo.sv", "ABITS.lo", "ABITS_LO", "as above"),
    Patch("fifo.sv", "ABITS.hi", "ABITS_HI", "as above"),
)


def apply(name: str, text: str) -> str:
    """The text of FINN's file `name` with its patches; raises HwgenError where one does not fit any more."""
    for patch in PATCHES:
        if not fnmatchcase(name, patch.name):
            continue
        old = patch.old if patch.regex else re.escape(patch.old)
        new = patch.new if patch.regex else patch.new.replace("\\", r"\\")
        text, times = re.subn(old, new, text)
        if not times:
            raise HwgenError(f"FINN's {name} is not the one that hwgen patches: it lacks {patch.old.strip()[:60]!r}")
    return text


def digest_of(text: str) -> str:
    return digest(text)
