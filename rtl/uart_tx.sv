// UART transmitter, 8N1. DIVISOR: clocks per bit.
//
// A byte is taken in the clock where `valid` and `ready` are both high; `ready` is then low for 10 * DIVISOR clocks.
`default_nettype none

module uart_tx #(
    parameter int unsigned DIVISOR = 8
) (
    input  wire       clk,
    input  wire       rst,
    input  wire [7:0] data,
    input  wire       valid,
    output wire       ready,
    output wire       tx
);
    localparam int unsigned WIDTH = $clog2(DIVISOR);
    localparam logic [WIDTH-1:0] FULL = WIDTH'(DIVISOR - 1);

    logic [WIDTH-1:0] timer;
    logic [3:0] left;   // bits still to send, the stop bit included; 0 is idle
    logic [8:0] low;    // the bits still to send, inverted: zeros, which shift in behind, are the idle line

    assign ready = left == 4'd0;
    assign tx = !low[0];

    always_ff @(posedge clk) begin
        if (rst) begin
            left <= 4'd0;
            low <= 9'd0;
        end else if (ready) begin
            timer <= FULL;
            if (valid) begin
                left <= 4'd10;
                low <= {~data, 1'b1};
            end
        end else if (timer != '0) begin
            timer <= timer - 1'b1;
        end else begin
            timer <= FULL;
            left <= left - 4'd1;
            low <= {1'b0, low[8:1]};
        end
    end
endmodule

`default_nettype wire
