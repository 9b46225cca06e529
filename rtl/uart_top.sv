// A board's whole design on one clock: power-on reset, UART shell, accelerator. A board's own top adds only what is
// the board's: the pin names, a PLL, the LEDs. Parameters: see uart_shell.
//
// `rst`: asynchronous push button, active high; tie it low where there is none.
`default_nettype none

module uart_top #(
    parameter int unsigned DIVISOR = 8,
    parameter int unsigned IN_BITS = 8,
    parameter int unsigned IN_BEATS = 1,
    parameter int unsigned OUT_BITS = 8,
    parameter int unsigned OUT_BEATS = 1,
    parameter logic [63:0] GRAPH_ID = 64'd0,
    parameter int unsigned WATCHDOG = 1 << 20
) (
    input  wire        clk,
    input  wire        rst,
    input  wire        uart_rx,
    output wire        uart_tx,
    output wire  [3:0] status
);
    // 256 clocks of reset after configuration: block RAM of the iCE40 is not readable in its first microseconds.
    // The counter relies on registers that start at 0, which the configuration of every FPGA gives.
    logic [8:0] power_on;
    logic meta, pressed;
    initial {power_on, meta, pressed} = 11'd0;
    wire shell_rst = !power_on[8];

    always_ff @(posedge clk) begin
        meta <= rst;
        pressed <= meta;
        if (pressed) power_on <= 9'd0;
        else if (!power_on[8]) power_on <= power_on + 1'b1;
    end

    logic accel_rst, i_valid, i_ready, o_valid, o_ready;
    logic [IN_BITS+1:0] i_payload;
    logic [OUT_BITS+1:0] o_payload;

    uart_shell #(
        .DIVISOR(DIVISOR), .IN_BITS(IN_BITS), .IN_BEATS(IN_BEATS), .OUT_BITS(OUT_BITS), .OUT_BEATS(OUT_BEATS),
        .GRAPH_ID(GRAPH_ID), .WATCHDOG(WATCHDOG)
    ) shell (
        .clk, .rst(shell_rst), .uart_rx, .uart_tx, .accel_rst,
        .m_payload(i_payload), .m_valid(i_valid), .m_ready(i_ready),
        .s_payload(o_payload), .s_valid(o_valid), .s_ready(o_ready), .status
    );
    accel core (
        .clk, .rst(accel_rst),
        .i__payload(i_payload), .i__valid(i_valid), .i__ready(i_ready),
        .o__payload(o_payload), .o__valid(o_valid), .o__ready(o_ready)
    );
endmodule

`default_nettype wire
