// The subset of the MULT18X18D (FPGA-TN-02205) that hwgen uses, for simulators; synthesis has the cell itself.
//
// P = A * B, each operand signed or not, with a register at the inputs, after the partial products and at the output
// where REG_*_CLK is "CLK0", all enabled by CE0. Shift registers, resets and other clocks are not modelled.
/* verilator lint_off DECLFILENAME */
/* verilator lint_off UNUSEDSIGNAL */
module MULT18X18D #(
    parameter REG_INPUTA_CLK = "NONE", REG_INPUTB_CLK = "NONE", REG_PIPELINE_CLK = "NONE", REG_OUTPUT_CLK = "NONE"
) (
    input A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0,
    input B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0,
    input SIGNEDA, SIGNEDB, SOURCEA, SOURCEB, CLK0, CE0, RST0,
    output P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18, P17, P16, P15,
    P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0
);
  wire [17:0] a_in = {A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0};
  wire [17:0] b_in = {B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0};
  logic signed [18:0] a_held, b_held;
  logic signed [35:0] m_held, p_held;
  wire signed [18:0] a_wide = {SIGNEDA & a_in[17], a_in};
  wire signed [18:0] b_wide = {SIGNEDB & b_in[17], b_in};
  wire signed [18:0] a = REG_INPUTA_CLK == "NONE" ? a_wide : a_held;
  wire signed [18:0] b = REG_INPUTB_CLK == "NONE" ? b_wide : b_held;
  wire signed [35:0] product = 36'(a) * 36'(b);
  wire signed [35:0] m = REG_PIPELINE_CLK == "NONE" ? product : m_held;
  assign {P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18, P17, P16, P15,
  P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0} = REG_OUTPUT_CLK == "NONE" ? m : p_held;

  always_ff @(posedge CLK0)
    if (CE0) begin
      a_held <= a_wide;
      b_held <= b_wide;
      m_held <= product;
      p_held <= m;
    end

  initial if (SOURCEA || SOURCEB) $fatal(1, "this mode of the MULT18X18D is not modelled");
endmodule
/* verilator lint_on UNUSEDSIGNAL */
/* verilator lint_on DECLFILENAME */
