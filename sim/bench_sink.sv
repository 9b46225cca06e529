// Accepts beats with random pauses.
//
// `ready` is low in a cycle with the probability stall / 65536, whether a beat waits or not.
`default_nettype none

module bench_sink (
    input  wire        clk,
    input  wire        rst,
    input  wire        load,
    input  wire [15:0] stall,
    input  wire [31:0] seed,
    output logic       ready
);
    logic [31:0] random = 1;

    initial ready = 1'b0;

    always @(posedge clk) begin
        // xorshift32, as in bench_source, from another start.
        random = random ^ (random << 13);
        random = random ^ (random >> 17);
        random = random ^ (random << 5);
        if (load) random = (seed * 32'h85ebca6b + 32'hc2b2ae35) | 32'd1;
        ready <= !rst && random[31:16] >= stall;
    end
endmodule

`default_nettype wire
