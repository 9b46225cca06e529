// Sends whole frames from a file of packed beats, with random pauses.
//
// FILE holds BYTES bytes a beat, least significant byte first. `load` (one cycle, with `rst`) opens the file again;
// from the end of the reset on, `frames` frames are sent. In a cycle without a beat waiting, the next one is
// held back with the probability stall / 65536; a beat that is offered stays until it is accepted.
`default_nettype none

module bench_source #(
    parameter int BITS = 8,
    parameter int BEATS = 1,
    parameter string FILE = "input.bin"
) (
    input  wire               clk,
    input  wire               rst,
    input  wire               load,
    input  wire        [31:0] frames,
    input  wire        [15:0] stall,
    input  wire        [31:0] seed,
    output logic [BITS+1:0]   payload,
    output logic              valid,
    input  wire               ready
);
    localparam int BYTES = (BITS + 7) / 8;
    localparam int CHUNK = 256;

    logic [8*BYTES-1:0] chunk[CHUNK];
    int file = 0, have = 0, index = 0, beat = 0;
    longint left = 0;
    logic [31:0] random = 1;
    logic [8*BYTES-1:0] word;

    initial begin
        valid = 1'b0;
        payload = '0;
    end

    always @(posedge clk) begin
        // xorshift32: G. Marsaglia, "Xorshift RNGs", 2003, triple (13, 17, 5).
        random = random ^ (random << 13);
        random = random ^ (random >> 17);
        random = random ^ (random << 5);
        if (load) begin
            if (file != 0) $fclose(file);
            file = $fopen(FILE, "rb");
            if (file == 0) $fatal(1, "cannot open %s", FILE);
            have = 0;
            index = 0;
            beat = 0;
            left = 64'(frames) * BEATS;
            // Neighbouring seeds start far apart, and never at 0.
            random = (seed * 32'h9e3779b1 + 32'h7f4a7c15) | 32'd1;
        end
        if (rst) valid <= 1'b0;
        else if (!valid || ready) begin
            if (left != 0 && random[31:16] >= stall) begin
                if (index == have) begin
                    have = $fread(chunk, file) / BYTES;
                    index = 0;
                    if (have == 0) $fatal(1, "%s ends %0d beats too early", FILE, left);
                end
                word = {<<8{chunk[index]}};
                payload <= {beat == BEATS - 1, beat == 0, word[BITS-1:0]};
                valid <= 1'b1;
                index = index + 1;
                beat = beat == BEATS - 1 ? 0 : beat + 1;
                left = left - 1;
            end else valid <= 1'b0;
        end
    end
endmodule

`default_nettype wire
