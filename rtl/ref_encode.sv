// Fixed point rounded half to even to a minifloat, written down as a search: the code is the number of midpoints between
// neighbouring codes that the magnitude lies above, or on if the lower neighbour is odd. Saturates; a zero is +0.
//
// WIDTH bits of input, two's complement. Parameters as in ref_lmul.sv. Inputs and midpoints are integers of GRID bits in
// units of 2**-FRACTION; the input's own unit is 2**LIFT times that.
module ref_encode #(
    parameter int E = 4,
    parameter int M = 3,
    parameter int BIAS = 7,
    parameter int SPECIAL = 1,
    parameter int SIGNED = 1,
    parameter int WIDTH = 12,
    parameter int LIFT = 4,
    parameter int FRACTION = 10,
    parameter int GRID = 24
) (
    input  logic [WIDTH-1:0] i,
    output logic [E+M+SIGNED-1:0] o
);
  localparam int Ones = (1 << (E + M)) - 1;
  localparam int Greatest = SPECIAL == 0 ? Ones : SPECIAL == 1 ? Ones - 1 : Ones - (1 << M);

  logic [WIDTH:0] magnitude;
  logic [GRID-1:0] x;
  logic [Greatest-1:0] above;
  logic [E+M-1:0] count;

  assign magnitude = i[WIDTH-1] ? -{1'b1, i} : {1'b0, i};
  assign x = GRID'(magnitude) << LIFT;

  for (genvar code = 0; code < Greatest; code++) begin : gen_code
    // The number that a code stands for, as integer times 2**exponent, and the one above it.
    localparam int Field = code >> M;
    localparam int Next = (code + 1) >> M;
    localparam int Low = (code & ((1 << M) - 1)) + (Field == 0 ? 0 : 1 << M);
    localparam int High = ((code + 1) & ((1 << M) - 1)) + (Next == 0 ? 0 : 1 << M);
    localparam int LowShift = (Field == 0 ? 1 : Field) - BIAS - M + FRACTION - 1;
    localparam int HighShift = (Next == 0 ? 1 : Next) - BIAS - M + FRACTION - 1;
    localparam logic [GRID-1:0] Midpoint = (GRID'(Low) << LowShift) + (GRID'(High) << HighShift);
    assign above[code] = x > Midpoint || (x == Midpoint && code % 2 == 1);
  end

  always_comb begin
    count = '0;
    for (int code = 0; code < Greatest; code++) count = count + (E + M)'(above[code]);
    o = (E + M + SIGNED)'(count);
    if (SIGNED != 0) o[E+M+SIGNED-1] = i[WIDTH-1];
    else if (i[WIDTH-1]) o = '0;
  end
endmodule
