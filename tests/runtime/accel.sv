// A stand-in for an accelerator: adds 1 to every lane. Input lanes of 5 bits and output lanes of 6 bits, signed.
// A whole frame is buffered before the first output beat, and both streams stall by the bits of an LFSR. Two frames misbehave, told by their first beat:
// all lanes -16 never answers, all lanes -15 marks the wrong last beat.
`default_nettype none

module accel #(
    parameter int unsigned LANES = 3,
    parameter int unsigned BEATS = 4
) (
    input  wire                clk,
    input  wire                rst,
    input  wire  [5*LANES+1:0] i__payload,
    input  wire                i__valid,
    output wire                i__ready,
    output wire  [6*LANES+1:0] o__payload,
    output wire                o__valid,
    input  wire                o__ready
);
    localparam int unsigned COUNT = BEATS > 1 ? $clog2(BEATS) : 1;

    logic [5*LANES-1:0] frame[BEATS];
    logic [COUNT-1:0] filled, sent;
    logic full, hang, misframe, offer;
    logic [15:0] lfsr;
    logic [6*LANES-1:0] lanes;

    wire [5*LANES-1:0] word = frame[sent];
    assign i__ready = !full && lfsr[0];
    assign o__valid = offer;
    assign o__payload = {(sent == COUNT'(BEATS - 1)) ^ misframe, sent == '0, lanes};

    always_comb begin
        for (int i = 0; i < LANES; i = i + 1) lanes[6*i+:6] = {word[5*i+4], word[5*i+:5]} + 6'd1;
    end

    always_ff @(posedge clk) begin
        lfsr <= {lfsr[14:0], lfsr[15] ^ lfsr[13] ^ lfsr[12] ^ lfsr[10]};
        offer <= (offer && !o__ready) || (full && !hang && !offer && lfsr[5]);
        if (i__valid && i__ready) begin
            frame[filled] <= i__payload[5*LANES-1:0];
            filled <= filled + 1'b1;
            if (filled == COUNT'(BEATS - 1)) full <= 1'b1;
            if (i__payload[5*LANES]) hang <= i__payload[5*LANES-1:0] == {LANES{5'h10}};
            if (i__payload[5*LANES]) misframe <= i__payload[5*LANES-1:0] == {LANES{5'h11}};
            // The shell must mark the frame's two ends; a frame that it marks wrongly is never answered.
            if (i__payload[5*LANES] != (filled == '0)) hang <= 1'b1;
            if (i__payload[5*LANES+1] != (filled == COUNT'(BEATS - 1))) hang <= 1'b1;
        end
        if (o__valid && o__ready) begin
            sent <= sent + 1'b1;
            if (sent == COUNT'(BEATS - 1)) begin
                filled <= '0;
                sent <= '0;
                full <= 1'b0;
            end
        end
        if (rst) begin
            filled <= '0;
            sent <= '0;
            full <= 1'b0;
            hang <= 1'b0;
            misframe <= 1'b0;
            offer <= 1'b0;
            lfsr <= 16'hACE1;
        end
    end
endmodule

`default_nettype wire
