"""No standstill: while a beat is offered and its result would be taken, something moves, whatever happened before."""

import pytest

from hwgen import ops
from hwgen.errors import MismatchError
from hwgen.formats import Int
from hwgen.gateware.argmax import ArgMax
from hwgen.gateware.fifo import Fifo
from hwgen.gateware.grouped import Grouped
from hwgen.gateware.matvec import MatVec
from hwgen.gateware.pool import Pool
from hwgen.gateware.slice import Slice
from hwgen.gateware.table import Table
from hwgen.gateware.thresholds import Thresholds
from hwgen.gateware.topk import TopK
from hwgen.gateware.upsample import Upsample
from hwgen.gateware.verilog import to_verilog
from hwgen.gateware.width import Gather, Scatter
from hwgen.gateware.window import Window
from hwgen.ir import Beats, Fold, TensorType
from hwgen.tools.formal import Design, prove_always

pytestmark = pytest.mark.slow

# Nothing has to move at once: a beat takes its clocks through a pipeline.
MONITOR = """
module monitor(input clk, input i_valid, input o_ready, input [{i}-1:0] i_payload, output moves);
  wire i_ready, o_valid;
  wire [{o}-1:0] o_payload;
  dut dut(.clk(clk), .rst(1'b0), .i__valid(i_valid), .i__ready(i_ready), .i__payload(i_payload),
          .o__valid(o_valid), .o__ready(o_ready), .o__payload(o_payload));
  reg [3:0] still = 0;
  always @(posedge clk) still <= i_valid & o_ready & ~i_ready & ~o_valid ? still + 1 : 0;
  assign moves = still < {most};
endmodule
"""


def image(rows, columns, channels=1):
    return TensorType((rows, columns, channels), Int(1, is_signed=False))


def grouped(weight, **shape):
    op = ops.Grouped(weight, Int(2), **shape)
    return Grouped(op, TensorType((op.weight.shape[1] * op.groups,), Int(1, is_signed=False)), Fold(1, 1))


BEATS = Beats(2, 1, False, 3)
CASES = {
    "window": (lambda: Window(ops.Window((2, 2)), image(3, 2), 1), 36),
    "window, padded": (lambda: Window(ops.Window((2, 2), padding=(1, 0, 0, 1), pad=0), image(2, 2), 1), 60),
    "window, stride": (lambda: Window(ops.Window((1, 2), (2, 1)), image(3, 2, 2), 1), 30),
    "pool": (lambda: Pool(ops.Pool("max", 2), TensorType((2, 4), Int(1, is_signed=False)), 1), 40),
    "grouped, by channel": (lambda: grouped([[1], [-1]], groups=2), 40),
    "grouped, twice a beat": (lambda: grouped([[1, 1], [-1, 0]], taps=2), 40),
    "grouped, in two beats": (lambda: grouped([[1, 1], [-1, 0]], groups=2), 40),
    "upsample": (lambda: Upsample(ops.Upsample((2, 1)), image(2, 1), 1), 20),
    "topk": (lambda: TopK(ops.TopK(2), TensorType((3,), Int(1, is_signed=False))), 40),
    "table": (lambda: Table(ops.Table([[1, 0]], Int(2)), TensorType((2,), Int(1, is_signed=False)), 1), 40),
    "slice": (lambda: Slice(ops.Slice(1, 2), TensorType((2, 2), Int(1, is_signed=False)), 1), 40),
    "argmax": (lambda: ArgMax(ops.ArgMax(), TensorType((2, 2), Int(1, is_signed=False)), 1), 40),
    "thresholds": (lambda: Thresholds(ops.Thresholds([[0, 1]], -2, Int(2)), TensorType((2, 2), Int(2)), 1), 40),
    "matrix unit": (
        lambda: MatVec(ops.MatVec([[1, 1], [1, -1]], Int(2)), TensorType((2,), Int(1, is_signed=False)), Fold(1, 1)),
        40,
    ),
    "fifo": (lambda: Fifo(BEATS, 3), 40),
    "gather": (lambda: Gather(BEATS, 6), 40),
    "scatter": (lambda: Scatter(BEATS, 1), 40),
}


def prove(component, clocks, most, folder):
    bits = component.input.payload_bits, component.output.payload_bits
    (folder / "dut.v").write_text(to_verilog(component, "dut"))
    (folder / "monitor.sv").write_text(MONITOR.format(i=bits[0], o=bits[1], most=most))
    prove_always(Design([folder / "dut.v", folder / "monitor.sv"], "monitor"), "moves", clocks, timeout=100)


@pytest.mark.parametrize("name", CASES)
def test_nothing_stands_still(name, tmp_path):
    make, clocks = CASES[name]
    prove(make(), clocks, 4, tmp_path)


def test_a_standstill_is_found(tmp_path):
    """While the last row of a frame waits to be freed, a full buffer takes nothing for a clock or two."""
    component = Window(ops.Window((2, 2), padding=(1, 0, 0, 1), pad=0), image(3, 2), 1)
    with pytest.raises(MismatchError, match="moves of monitor is 0 in one of the first 20 clocks"):
        prove(component, 20, 1, tmp_path)
