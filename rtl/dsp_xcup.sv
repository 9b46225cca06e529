// The subset of the DSP48E2 (UG579) that hwgen uses, for simulators; synthesis and Vivado have the cell itself.
//
// P = Z + M, or Z - M where ALUMODE is 3; M = (D + A) * B, or A * B; Z one of 0, PCIN, P and C. AREG and BREG are 0, 1
// or 2, DREG, ADREG, CREG, MREG, PREG, ALUMODEREG 0 or 1. The other control inputs have no registers and resets are not
// modelled; anything else ends the simulation.
/* verilator lint_off DECLFILENAME */
/* verilator lint_off UNUSEDSIGNAL */
/* verilator lint_off UNUSEDPARAM */
/* verilator lint_off WIDTHEXPAND */
module DSP48E2 #(
    parameter int AREG = 1, ACASCREG = 1, BREG = 1, BCASCREG = 1, DREG = 1, ADREG = 1, CREG = 1, MREG = 1, PREG = 1,
    parameter int INMODEREG = 1, OPMODEREG = 1, ALUMODEREG = 1, CARRYINREG = 1, CARRYINSELREG = 1,
    parameter AMULTSEL = "A", BMULTSEL = "B", USE_MULT = "MULTIPLY"
) (
    input CLK,
    input [29:0] A,
    input [17:0] B,
    input [47:0] C,
    input [26:0] D,
    input [47:0] PCIN,
    input [4:0] INMODE,
    input [8:0] OPMODE,
    input [3:0] ALUMODE,
    input CARRYIN,
    input [2:0] CARRYINSEL,
    input CEA1, CEA2, CEAD, CEB1, CEB2, CEC, CED, CEM, CEP, CEALUMODE, CECARRYIN, CECTRL, CEINMODE,
    input RSTA, RSTALLCARRYIN, RSTALUMODE, RSTB, RSTC, RSTCTRL, RSTD, RSTINMODE, RSTM, RSTP,
    output [47:0] P, PCOUT
);
  localparam bit PREADDER = AMULTSEL == "AD";
  logic signed [26:0] a_first, a_held, d_held, sum_held;
  logic signed [17:0] b_first, b_held;
  logic signed [47:0] c_held, p_held;
  logic signed [44:0] m_held;
  logic [3:0] alumode_held;

  wire signed [26:0] a = AREG == 0 ? A[26:0] : a_held;
  wire signed [26:0] d = DREG == 0 ? D : d_held;
  wire signed [26:0] added = a + d;
  wire signed [26:0] sum = !PREADDER ? a : ADREG == 0 ? added : sum_held;
  wire signed [17:0] b = BREG == 0 ? B : b_held;
  wire signed [44:0] product = sum * b;
  wire signed [44:0] m = MREG == 0 ? product : m_held;
  wire signed [47:0] c = CREG == 0 ? C : c_held;
  wire [3:0] alumode = ALUMODEREG == 0 ? ALUMODE : alumode_held;
  wire signed [47:0] z = OPMODE[6:4] == 3'b011 ? c : OPMODE[6:4] == 3'b010 ? p_held :
                         OPMODE[6:4] == 3'b001 ? PCIN : 48'sd0;
  wire signed [47:0] total = alumode == 4'b0011 ? z - 48'(m) : z + 48'(m);

  assign P = PREG == 0 ? total : p_held;
  assign PCOUT = P;

  always_ff @(posedge CLK) begin
    if (CEA1) a_first <= A[26:0];
    if (CEA2) a_held <= AREG == 2 ? a_first : A[26:0];
    if (CED) d_held <= D;
    if (CEAD) sum_held <= added;
    if (CEB1) b_first <= B;
    if (CEB2) b_held <= BREG == 2 ? b_first : B;
    if (CEC) c_held <= C;
    if (CEM) m_held <= product;
    if (CEALUMODE) alumode_held <= ALUMODE;
    if (CEP) p_held <= total;
    if (INMODE != (PREADDER ? 5'b00100 : 5'b00000) || OPMODE[3:0] != 4'b0101 || OPMODE[8:7] != 0 || OPMODE[6] ||
        (ALUMODE != 4'b0000 && ALUMODE != 4'b0011) || CARRYIN || CARRYINSEL != 0)
      $fatal(1, "this mode of the DSP48E2 is not modelled");
  end

  initial
    if (INMODEREG + OPMODEREG + CARRYINREG + CARRYINSELREG != 0 || (AMULTSEL != "AD" && AMULTSEL != "A"))
      $fatal(1, "these registers of the DSP48E2 are not modelled");
endmodule
/* verilator lint_on WIDTHEXPAND */
/* verilator lint_on UNUSEDPARAM */
/* verilator lint_on UNUSEDSIGNAL */
/* verilator lint_on DECLFILENAME */
