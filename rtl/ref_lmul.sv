// What L-Mul and its relatives are, written down as their definition reads, to prove gateware against.
//
// E exponent and M mantissa bits, sign (if SIGNED) above them. SPECIAL: 0 all codes are numbers, 1 only "all ones" is
// not (NaN), 2 the greatest exponent is infinity and NaNs. VARIANT: 0 lmul, 1 mitchell, 2 lmul_formula_trunc.
module ref_lmul #(
    parameter int E = 4,
    parameter int M = 3,
    parameter int BIAS = 7,
    parameter int SPECIAL = 1,
    parameter int SIGNED = 1,
    parameter int VARIANT = 0
) (
    input  logic [E+M+SIGNED-1:0] a,
    input  logic [E+M+SIGNED-1:0] b,
    output logic [E+M+SIGNED-1:0] o
);
  localparam int One = 1 << M;
  localparam int Ones = (1 << (E + M)) - 1;
  localparam int Greatest = SPECIAL == 0 ? Ones : SPECIAL == 1 ? Ones - 1 : Ones - One;
  localparam int L = M <= 3 ? M : M == 4 ? 3 : 4;
  localparam int Term = VARIANT == 1 ? 0 : 1 << (M - L);
  // The quiet NaN: only the mantissa's top bit; in a format of exponent bits alone it is the infinity.
  localparam int Quiet = SPECIAL == 1 ? Ones : M == 0 ? Ones : Ones - One + 1 + One / 2;

  int x, y, sum, s, z;
  logic negative, x_zero, y_zero, x_nan, y_nan, x_inf, y_inf;

  always_comb begin
    x = int'(a) & Ones;
    y = int'(b) & Ones;
    negative = SIGNED != 0 && (a[E+M+SIGNED-1] != b[E+M+SIGNED-1]);
    x_zero = x < One;
    y_zero = y < One;
    x_inf = SPECIAL == 2 && x == Greatest + 1;
    y_inf = SPECIAL == 2 && y == Greatest + 1;
    x_nan = x > Greatest && !x_inf;
    y_nan = y > Greatest && !y_inf;

    if (VARIANT == 2) begin
      // One significand for both, and one exponent; a significand of two or more is halved.
      s = One + (x & (One - 1)) + (y & (One - 1)) + Term;
      z = (x >> M) + (y >> M) - BIAS;
      if (s >= 2 * One) begin
        s = s >> 1;
        z = z + 1;
      end
      sum = z * One + (s - One);
    end else begin
      s = 0;
      z = 0;
      sum = x + y - BIAS * One + Term;
    end

    if (sum > Greatest) sum = Greatest;
    if (sum < One || x_zero || y_zero) begin
      sum = 0;
      negative = 0;
    end
    if (x_inf || y_inf) begin
      sum = Greatest + 1;
      negative = SIGNED != 0 && (a[E+M+SIGNED-1] != b[E+M+SIGNED-1]);
    end
    if (x_nan || y_nan || (x_inf && y_zero) || (y_inf && x_zero)) begin
      sum = Quiet;
      negative = 0;
    end
    o = (E + M + SIGNED)'(sum);
    if (SIGNED != 0) o[E+M+SIGNED-1] = negative;
  end
endmodule
