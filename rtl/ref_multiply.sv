// The exact product of two minifloats in fixed point, written down as its definition reads: both operands become
// fixed-point numbers, and those are multiplied. WIDTH bits in units of the product of both least bits.
//
// Parameters as in ref_lmul.sv, for each operand; SUBNORMALS: exponent field 0 has no hidden bit. Where an operand is
// NaN or infinity, `special` is 1 and `o` is what the same bits would be worth as a number.
module ref_multiply #(
    parameter int AE = 4,
    parameter int AM = 3,
    parameter int AS = 1,
    parameter int ASPECIAL = 1,
    parameter int BE = 4,
    parameter int BM = 3,
    parameter int BS = 1,
    parameter int BSPECIAL = 1,
    parameter int WIDTH = 37
) (
    input logic [AE+AM+AS-1:0] a,
    input logic [BE+BM+BS-1:0] b,
    output logic [WIDTH-1:0] o,
    output logic special
);
  logic [AE-1:0] a_field;
  logic [BE-1:0] b_field;
  logic [WIDTH-1:0] x, y, p;
  logic a_special, b_special;

  always_comb begin
    a_field = a[AM+:AE];
    b_field = b[BM+:BE];
    x = WIDTH'(a[AM-1:0]);
    y = WIDTH'(b[BM-1:0]);
    if (a_field != 0) x = (x + (WIDTH'(1) << AM)) << (a_field - 1'b1);
    if (b_field != 0) y = (y + (WIDTH'(1) << BM)) << (b_field - 1'b1);
    p = x * y;
    if ((AS != 0 && a[AE+AM+AS-1]) != (BS != 0 && b[BE+BM+BS-1])) p = -p;
    o = p;
    a_special = ASPECIAL == 1 ? (&a[AE+AM-1:0]) : ASPECIAL == 2 ? (&a_field) : 1'b0;
    b_special = BSPECIAL == 1 ? (&b[BE+BM-1:0]) : BSPECIAL == 2 ? (&b_field) : 1'b0;
    special = a_special || b_special;
  end
endmodule
