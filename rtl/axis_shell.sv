// AXI4-Stream wrapper of the accelerator: beats with tdata padded to whole bytes and tlast at the end of every frame.
//
// Parameters: IN_BITS bits of one input beat (lanes * bits of a lane), IN_BEATS beats of an input frame; OUT_* alike.
// tdata holds lane 0 in its least significant bits; the padding above the lanes is ignored on input and 0 on output.
// The frame's ends are counted, so tlast may be left out on input; `frame_error` goes high, and stays high until
// reset, when a tlast comes elsewhere than on a frame's last beat, in or out: the two ends are out of step then.
// No latency of its own: payloads pass through, only beat counters and the reset are registers.
`default_nettype none

module axis_shell #(
    parameter int unsigned IN_BITS = 8,
    parameter int unsigned IN_BEATS = 1,
    parameter int unsigned OUT_BITS = 8,
    parameter int unsigned OUT_BEATS = 1
) (
    input  wire                           aclk,
    input  wire                           aresetn,
    input  wire  [ 8*((IN_BITS+7)/8)-1:0] s_axis_tdata,
    input  wire                           s_axis_tvalid,
    output wire                           s_axis_tready,
    input  wire                           s_axis_tlast,
    output wire  [8*((OUT_BITS+7)/8)-1:0] m_axis_tdata,
    output wire                           m_axis_tvalid,
    input  wire                           m_axis_tready,
    output wire                           m_axis_tlast,
    output logic                          frame_error
);
    localparam int unsigned OUT_STRIDE = (OUT_BITS + 7) / 8;
    localparam int unsigned IN_COUNT = IN_BEATS > 1 ? $clog2(IN_BEATS) : 1;
    localparam int unsigned OUT_COUNT = OUT_BEATS > 1 ? $clog2(OUT_BEATS) : 1;

    // Held in reset for one clock more than the bus, without accepting or offering anything meanwhile.
    logic rst;
    always_ff @(posedge aclk) rst <= !aresetn;

    logic [IN_COUNT-1:0] in_beat;
    logic [OUT_COUNT-1:0] out_beat;
    wire in_first = in_beat == '0;
    wire in_last = in_beat == IN_COUNT'(IN_BEATS - 1);
    wire out_last = out_beat == OUT_COUNT'(OUT_BEATS - 1);

    logic i_ready, o_valid;
    logic [OUT_BITS+1:0] o_payload;
    wire open = aresetn && !rst;
    assign s_axis_tready = i_ready && open;
    assign m_axis_tvalid = o_valid && open;
    assign m_axis_tdata = (8 * OUT_STRIDE)'(o_payload[OUT_BITS-1:0]);
    assign m_axis_tlast = o_payload[OUT_BITS+1];

    always_ff @(posedge aclk) begin
        if (s_axis_tvalid && s_axis_tready) begin
            in_beat <= in_last ? '0 : in_beat + 1'b1;
            if (s_axis_tlast && !in_last) frame_error <= 1'b1;
        end
        if (m_axis_tvalid && m_axis_tready) begin
            out_beat <= out_last ? '0 : out_beat + 1'b1;
            if (m_axis_tlast != out_last) frame_error <= 1'b1;
        end
        if (!aresetn) begin
            in_beat <= '0;
            out_beat <= '0;
            frame_error <= 1'b0;
        end
    end

    wire unused = &{1'b0, s_axis_tdata, o_payload[OUT_BITS]};

    accel core (
        .clk(aclk), .rst,
        .i__payload({in_last, in_first, s_axis_tdata[IN_BITS-1:0]}), .i__valid(s_axis_tvalid && open), .i__ready(i_ready),
        .o__payload(o_payload), .o__valid(o_valid), .o__ready(m_axis_tready && open)
    );
endmodule

`default_nettype wire
