// Simple dual-port memory of bytes, one clock, synchronous read: written so that every tool infers a memory.
// Block RAM or LUT RAM is left to the tool: for a small frame LUT RAM is the quicker one.
// ADDR: $clog2(BYTES), at least 1.
`default_nettype none

module uart_ram #(
    parameter int unsigned BYTES = 16,
    parameter int unsigned ADDR  = 4
) (
    input  wire             clk,
    input  wire             write,
    input  wire  [ADDR-1:0] write_addr,
    input  wire  [     7:0] write_data,
    input  wire  [ADDR-1:0] read_addr,
    output logic [     7:0] read_data
);
    logic [7:0] memory[BYTES];

    always_ff @(posedge clk) begin
        if (write) memory[write_addr] <= write_data;
        read_data <= memory[read_addr];
    end
endmodule

`default_nettype wire
