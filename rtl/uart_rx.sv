// UART receiver, 8N1: one start bit, eight data bits (least significant first), one stop bit.
//
// DIVISOR: clocks per bit, at least 4. Each bit is sampled in its middle.
// `valid` is high for one clock with the byte in `data`; `error` is high for one clock instead when the stop bit was
// low (a framing error or a break); the receiver then waits for the idle line before it looks for a start bit.
`default_nettype none

module uart_rx #(
    parameter int unsigned DIVISOR = 8
) (
    input  wire        clk,
    input  wire        rst,
    input  wire        rx,
    output logic [7:0] data,
    output logic       valid,
    output logic       error
);
    localparam int unsigned WIDTH = $clog2(DIVISOR);
    localparam logic [WIDTH-1:0] FULL = WIDTH'(DIVISOR - 1);
    localparam logic [WIDTH-1:0] HALF = WIDTH'(DIVISOR / 2 - 1);

    // Two flops against metastability; inverted, so that the power-up value 0 is the idle line.
    logic meta, low;
    always_ff @(posedge clk) begin
        meta <= !rx;
        low <= meta;
    end

    logic [WIDTH-1:0] timer;
    logic [3:0] left;  // bits still to come, the start bit included; 0 is idle
    logic broken;      // after a framing error, until the line is idle

    always_ff @(posedge clk) begin
        valid <= 1'b0;
        error <= 1'b0;
        if (rst) begin
            left <= 4'd0;
            broken <= 1'b0;
        end else if (broken) begin
            broken <= low;
        end else if (left == 4'd0) begin
            timer <= HALF;
            if (low) left <= 4'd10;
        end else if (timer != '0) begin
            timer <= timer - 1'b1;
        end else begin
            timer <= FULL;
            left <= left - 4'd1;
            if (left == 4'd10) begin
                if (!low) left <= 4'd0;  // a glitch, not a start bit
            end else if (left == 4'd1) begin
                valid <= !low;
                error <= low;
                broken <= low;
            end else begin
                data <= {!low, data[7:1]};
            end
        end
    end
endmodule

`default_nettype wire
