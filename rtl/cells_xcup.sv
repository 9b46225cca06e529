// Models of the UltraScale+ cells that hwgen instantiates (UG974), for simulators and for proofs. Synthesis and Vivado
// have their own.
/* verilator lint_off DECLFILENAME */
module LUT1 #(parameter logic [1:0] INIT = 0) (input I0, output O);
  assign O = INIT[I0];
endmodule

module LUT2 #(parameter logic [3:0] INIT = 0) (input I0, I1, output O);
  assign O = INIT[{I1, I0}];
endmodule

module LUT3 #(parameter logic [7:0] INIT = 0) (input I0, I1, I2, output O);
  assign O = INIT[{I2, I1, I0}];
endmodule

module LUT4 #(parameter logic [15:0] INIT = 0) (input I0, I1, I2, I3, output O);
  assign O = INIT[{I3, I2, I1, I0}];
endmodule

module LUT5 #(parameter logic [31:0] INIT = 0) (input I0, I1, I2, I3, I4, output O);
  assign O = INIT[{I4, I3, I2, I1, I0}];
endmodule

module LUT6 #(parameter logic [63:0] INIT = 0) (input I0, I1, I2, I3, I4, I5, output O);
  assign O = INIT[{I5, I4, I3, I2, I1, I0}];
endmodule

// Two outputs: O6 of all six inputs, O5 of the lower five and the lower half of the table.
module LUT6_2 #(parameter logic [63:0] INIT = 0) (input I0, I1, I2, I3, I4, I5, output O5, O6);
  assign O5 = INIT[{1'b0, I4, I3, I2, I1, I0}];
  assign O6 = INIT[{I5, I4, I3, I2, I1, I0}];
endmodule

// One chain of eight bits; CI_TOP and the two chains of four are not modelled.
/* verilator lint_off UNUSEDSIGNAL */
/* verilator lint_off UNUSEDPARAM */
module CARRY8 #(parameter CARRY_TYPE = "SINGLE_CY8") (
    input CI, CI_TOP,
    input [7:0] DI, S,
    output [7:0] CO, O
);
  // The chain as a sum, which simulates faster than bit by bit: a bit hands on the carry where S is high, else DI, which
  // is how DI + (DI ^ S) carries.
  wire [8:0] total = {1'b0, DI} + {1'b0, DI ^ S} + {8'b0, CI};
  assign O = total[7:0];
  assign CO = {total[8], total[7:1] ^ S[7:1]};
endmodule
/* verilator lint_on UNUSEDPARAM */
/* verilator lint_on UNUSEDSIGNAL */
/* verilator lint_on DECLFILENAME */
