// The board under test: the shell and the stand-in, with an identity that needs SLIP escapes.
`default_nettype none

module board (
    input  wire clk,
    input  wire button,
    input  wire uart_rx,
    output wire uart_tx
);
    wire [3:0] status;
    wire unused = &status;
    uart_top #(
        .DIVISOR(8), .IN_BITS(15), .IN_BEATS(4), .OUT_BITS(18), .OUT_BEATS(4), .GRAPH_ID(64'hC0DB_0123_4567_89AB),
        .WATCHDOG(2000)
    ) top (.clk, .rst(button), .uart_rx, .uart_tx, .status);
endmodule

`default_nettype wire
