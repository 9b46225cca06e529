// The mode of the DSP48E2 (UG579) that FINN's matrix unit uses, for simulators: P = M + (OPMODE ? P : 0), M = (D - A) * B.
//
// One register each for AD, B, M, P and OPMODE, with resets that go before enables. Another mode ends the simulation.
module DSP48E2 #(
    parameter AMULTSEL = "A", A_INPUT = "DIRECT", BMULTSEL = "B", B_INPUT = "DIRECT", PREADDINSEL = "A",
    parameter USE_MULT = "MULTIPLY", USE_SIMD = "ONE48", USE_WIDEXOR = "FALSE", XORSIMD = "XOR24_48_96",
    parameter AUTORESET_PATDET = "NO_RESET", AUTORESET_PRIORITY = "RESET", SEL_MASK = "MASK", SEL_PATTERN = "PATTERN",
    parameter USE_PATTERN_DETECT = "NO_PATDET",
    parameter logic [47:0] RND = '0, MASK = '1, PATTERN = '0,
    parameter logic [3:0] IS_ALUMODE_INVERTED = '0, parameter logic [4:0] IS_INMODE_INVERTED = '0,
    parameter logic [8:0] IS_OPMODE_INVERTED = '0,
    parameter logic IS_CARRYIN_INVERTED = 0, IS_CLK_INVERTED = 0, IS_RSTALLCARRYIN_INVERTED = 0,
    parameter logic IS_RSTALUMODE_INVERTED = 0, IS_RSTA_INVERTED = 0, IS_RSTB_INVERTED = 0, IS_RSTCTRL_INVERTED = 0,
    parameter logic IS_RSTC_INVERTED = 0, IS_RSTD_INVERTED = 0, IS_RSTINMODE_INVERTED = 0, IS_RSTM_INVERTED = 0,
    parameter logic IS_RSTP_INVERTED = 0,
    parameter int ACASCREG = 1, ADREG = 1, ALUMODEREG = 1, AREG = 1, BCASCREG = 1, BREG = 1, CARRYINREG = 1,
    parameter int CARRYINSELREG = 1, CREG = 1, DREG = 1, INMODEREG = 1, MREG = 1, OPMODEREG = 1, PREG = 1
) (
    output [29:0] ACOUT, output [17:0] BCOUT, output CARRYCASCOUT, MULTSIGNOUT, output [47:0] PCOUT,
    output OVERFLOW, PATTERNBDETECT, PATTERNDETECT, UNDERFLOW, output [3:0] CARRYOUT,
    output [47:0] P, output [7:0] XOROUT,
    input [29:0] ACIN, input [17:0] BCIN, input CARRYCASCIN, MULTSIGNIN, input [47:0] PCIN,
    input CLK, input [3:0] ALUMODE, input [2:0] CARRYINSEL, input [4:0] INMODE, input [8:0] OPMODE,
    input [29:0] A, input [17:0] B, input [47:0] C, input CARRYIN, input [26:0] D,
    input CEA1, CEA2, CEAD, CEALUMODE, CEB1, CEB2, CEC, CECARRYIN, CECTRL, CED, CEINMODE, CEM, CEP,
    input RSTA, RSTB, RSTC, RSTD, RSTALLCARRYIN, RSTALUMODE, RSTCTRL, RSTINMODE, RSTM, RSTP
);
    logic signed [26:0] ad = 0;
    logic signed [17:0] b = 0;
    logic signed [44:0] m = 0;
    logic signed [47:0] p = 0;
    logic [8:0] held = 0;
    wire [8:0] opmode = held ^ IS_OPMODE_INVERTED;
    wire signed [47:0] z = opmode[6:4] == 3'b010 ? p : 48'sd0;
    wire signed [26:0] a = A[26:0];

    assign P = p;

    always_ff @(posedge CLK) begin
        if (RSTD) ad <= 0;
        else if (CEAD) ad <= $signed(D) - a;
        if (RSTB) b <= 0;
        else if (CEB2) b <= B;
        if (RSTM) m <= 0;
        else if (CEM) m <= ad * b;
        if (RSTCTRL) held <= 0;
        else if (CECTRL) held <= OPMODE;
        if (RSTP) p <= 0;
        else if (CEP) p <= z + 48'(m);
        if (INMODE != 5'b01100 || ALUMODE != 0 || CARRYINSEL != 0 || CARRYIN
            || (opmode[3:0] != 4'b0101 && !RSTP) || opmode[8:7] != 0 || opmode[6] || opmode[4])
            $fatal(1, "this mode of the DSP48E2 is not modelled");
    end

    initial
        if (AMULTSEL != "AD" || BMULTSEL != "B" || AREG + DREG + INMODEREG + ALUMODEREG + CARRYINREG + CARRYINSELREG != 0
            || ADREG + BREG + MREG + PREG + OPMODEREG != 5)
            $fatal(1, "these registers of the DSP48E2 are not modelled");
endmodule

module LUT6_2 #(
    parameter logic [63:0] INIT = 0
) (
    input I0, I1, I2, I3, I4, I5,
    output O5, O6
);
    assign O6 = INIT[{I5, I4, I3, I2, I1, I0}];
    assign O5 = INIT[{1'b0, I4, I3, I2, I1, I0}];
endmodule
