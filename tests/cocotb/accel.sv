// A small accelerator for testing the bench, with faults to be switched on at run time by +arguments.
//
// Frames of 2 beats x 2 lanes of signed 4 bits; `scale` gives 3x + 1 of every lane (signed 6 bits), `total` the sum of
// the frame (signed 8 bits, one beat). Latency 3, interval 2.
`default_nettype none

module scale (
    input  wire         clk,
    input  wire         rst,
    input  wire  [9:0]  i__payload,
    input  wire         i__valid,
    output wire         i__ready,
    output logic [13:0] o__payload,
    output logic        o__valid,
    input  wire         o__ready
);
    int flip_frame, drop_frame, misframe_frame, frame;
    logic beat;
    logic signed [5:0] lane0, lane1;

    initial begin
        if (!$value$plusargs("flip=%d", flip_frame)) flip_frame = -1;
        if (!$value$plusargs("drop=%d", drop_frame)) drop_frame = -1;
        if (!$value$plusargs("misframe=%d", misframe_frame)) misframe_frame = -1;
    end

    assign i__ready = !o__valid || o__ready;
    always_comb begin
        lane0 = 6'sd3 * 6'(signed'(i__payload[3:0])) + 6'sd1;
        lane1 = 6'sd3 * 6'(signed'(i__payload[7:4])) + 6'sd1;
        if (frame == flip_frame && beat) lane1[2] = !lane1[2];
    end

    always_ff @(posedge clk) begin
        if (i__ready) begin
            o__valid   <= i__valid && !(frame == drop_frame && beat);
            o__payload <= {i__payload[9:8], lane1, lane0};
            if (frame == misframe_frame) o__payload[12] <= 1'b0;
            if (i__valid) begin
                beat <= !beat;
                if (beat) frame <= frame + 1;
            end
        end
        if (rst) begin
            o__valid <= 1'b0;
            beat <= 1'b0;
            frame <= 0;
        end
    end
endmodule

module total (
    input  wire         clk,
    input  wire         rst,
    input  wire  [13:0] i__payload,
    input  wire         i__valid,
    output wire         i__ready,
    output logic [9:0]  o__payload,
    output logic        o__valid,
    input  wire         o__ready
);
    int hang_frame, frame, extra;
    logic unstable, again;
    logic signed [7:0] sum, lanes;

    initial begin
        if (!$value$plusargs("hang=%d", hang_frame)) hang_frame = -1;
        if (!$value$plusargs("extra=%d", extra)) extra = -1;
        unstable = $test$plusargs("unstable") != 0;
        if ($test$plusargs("crash") != 0) $fatal(1, "told to crash");
    end

    assign i__ready = (!o__valid || o__ready) && frame != hang_frame;
    assign lanes = 8'(signed'(i__payload[5:0])) + 8'(signed'(i__payload[11:6]));

    always_ff @(posedge clk) begin
        if (i__ready) begin
            o__valid <= i__valid && i__payload[13];
            o__payload <= {2'b11, sum + lanes};
            if (i__valid) sum <= i__payload[13] ? 8'sd0 : lanes;
            if (i__valid && i__payload[13]) frame <= frame + 1;
            if (o__valid && frame == extra + 1 && !again) begin
                o__valid <= 1'b1;
                o__payload <= o__payload;
                again <= 1'b1;
            end
        end else if (o__ready) o__valid <= 1'b0;
        else if (unstable) o__payload[0] <= !o__payload[0];
        if (rst) begin
            o__valid <= 1'b0;
            sum <= 8'sd0;
            frame <= 0;
            again <= 1'b0;
        end
    end
endmodule

module accel (
    input  wire        clk,
    input  wire        rst,
    input  wire  [9:0] i__payload,
    input  wire        i__valid,
    output wire        i__ready,
    output wire  [9:0] o__payload,
    output wire        o__valid,
    input  wire        o__ready
);
    wire [13:0] mid_payload;
    wire mid_valid, mid_ready;

    scale scale_0 (
        .clk(clk),
        .rst(rst),
        .i__payload(i__payload),
        .i__valid(i__valid),
        .i__ready(i__ready),
        .o__payload(mid_payload),
        .o__valid(mid_valid),
        .o__ready(mid_ready)
    );
    total total_0 (
        .clk(clk),
        .rst(rst),
        .i__payload(mid_payload),
        .i__valid(mid_valid),
        .i__ready(mid_ready),
        .o__payload(o__payload),
        .o__valid(o__valid),
        .o__ready(o__ready)
    );
endmodule

`default_nettype wire
