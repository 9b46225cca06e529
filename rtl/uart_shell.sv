// Host shell: requests over a UART become frames on a stream, the frames that come back become replies.
// Protocol: docs/protocol.md.
//
// Parameters
//   DIVISOR    clocks per UART bit, at least 4
//   IN_BITS    bits of one input beat (lanes * bits of a lane), IN_BEATS beats of an input frame; OUT_* alike
//   GRAPH_ID   what the host compares: the first 64 bits of the network's hash
//   WATCHDOG   clocks that a RUN may take from its first beat to its last before the accelerator is reset
// Ports
//   m_*        stream to the accelerator, payload {last, first, lanes}
//   s_*        stream from the accelerator, alike
//   accel_rst  reset of the accelerator, synchronous, active high: with `rst`, and after a RUN that failed
//   status     for LEDs: {last reply was an error, sending, running, receiving}
//
// One frame is computed at a time, while the next request may arrive; a third one is answered with BUSY.
// A frame takes 2 clocks per input byte and 1 per output byte beside the accelerator's own time and the UART's.
`default_nettype none

module uart_shell #(
    parameter int unsigned DIVISOR = 8,
    parameter int unsigned IN_BITS = 8,
    parameter int unsigned IN_BEATS = 1,
    parameter int unsigned OUT_BITS = 8,
    parameter int unsigned OUT_BEATS = 1,
    parameter logic [63:0] GRAPH_ID = 64'd0,
    parameter int unsigned WATCHDOG = 1 << 20
) (
    input  wire                 clk,
    input  wire                 rst,
    input  wire                 uart_rx,
    output wire                 uart_tx,
    output wire                 accel_rst,
    output wire  [ IN_BITS+1:0] m_payload,
    output logic                m_valid,
    input  wire                 m_ready,
    input  wire  [OUT_BITS+1:0] s_payload,
    input  wire                 s_valid,
    output wire                 s_ready,
    output wire  [         3:0] status
);
    localparam logic [7:0] VERSION = 8'd1;
    localparam logic [7:0] INFO = 8'h01, RUN = 8'h02, REPLY = 8'h80, FAILED = 8'hFF;
    localparam logic [2:0] OK = 3'd0, BUSY = 3'd4, TIMEOUT = 3'd5, OUTPUT = 3'd6;

    // Bytes of one beat and of one frame, and the widths of their counters.
    localparam int unsigned IN_STRIDE = (IN_BITS + 7) / 8, IN_BYTES = IN_STRIDE * IN_BEATS;
    localparam int unsigned OUT_STRIDE = (OUT_BITS + 7) / 8, OUT_BYTES = OUT_STRIDE * OUT_BEATS;
    localparam int unsigned IN_ADDR = IN_BYTES > 1 ? $clog2(IN_BYTES) : 1;
    localparam int unsigned OUT_ADDR = OUT_BYTES > 1 ? $clog2(OUT_BYTES) : 1;
    localparam int unsigned IN_BYTE = $clog2(IN_STRIDE + 1), OUT_BYTE = $clog2(OUT_STRIDE + 1);
    localparam int unsigned IN_BEAT = $clog2(IN_BEATS + 1), OUT_BEAT = $clog2(OUT_BEATS + 1);
    localparam int unsigned TIMER = $clog2(WATCHDOG + 1);
    localparam int unsigned INFO_BYTES = 17;
    localparam int unsigned LENGTH = $clog2((OUT_BYTES > INFO_BYTES ? OUT_BYTES : INFO_BYTES) + 1);

    // ---- Requests ----
    logic [7:0] rx_data;
    logic rx_valid, rx_error;
    uart_rx #(.DIVISOR(DIVISOR)) receiver (
        .clk, .rst, .rx(uart_rx), .data(rx_data), .valid(rx_valid), .error(rx_error)
    );

    logic in_write, request_done, receiving;
    logic [IN_ADDR-1:0] in_write_addr, in_addr;
    logic [7:0] in_write_data, in_data, request_kind, request_sequence;
    logic [2:0] request_code;
    logic pending;  // a request waits; if it is a RUN, its frame is in the memory until it has been fed
    uart_request #(.IN_BYTES(IN_BYTES), .ADDR(IN_ADDR)) request (
        .clk, .rst, .data(rx_data), .valid(rx_valid), .error(rx_error), .locked(pending),
        .write(in_write), .write_addr(in_write_addr), .write_data(in_write_data), .active(receiving),
        .done(request_done), .kind(request_kind), .sequence_no(request_sequence), .code(request_code)
    );
    uart_ram #(.BYTES(IN_BYTES), .ADDR(IN_ADDR)) in_memory (
        .clk, .write(in_write), .write_addr(in_write_addr), .write_data(in_write_data),
        .read_addr(in_addr), .read_data(in_data)
    );

    // ---- The order of things: idle, run, reply ----
    localparam logic [1:0] IDLE = 2'd0, RUNNING = 2'd1, START = 2'd2, REPLYING = 2'd3;
    logic [1:0] state;
    logic pending_run, refused, fault;
    logic [7:0] pending_sequence, refused_sequence, reply_kind, reply_sequence;
    logic [2:0] pending_code, reply_code;
    logic [TIMER-1:0] timer;
    logic feeding, collecting, misframed, reply_busy;
    logic [IN_BEAT-1:0] in_beat;
    wire in_last = in_beat == IN_BEAT'(IN_BEATS - 1);

    wire run_start = state == IDLE && pending && pending_run && pending_code == OK;
    wire fed = m_valid && m_ready && in_last;
    wire run_end = state == RUNNING && (timer == '0 || (!feeding && !collecting));
    assign accel_rst = rst || fault;

    always_ff @(posedge clk) begin
        case (state)
            IDLE: begin
                fault <= 1'b0;
                timer <= TIMER'(WATCHDOG);
                if (pending) begin
                    reply_sequence <= pending_sequence;
                    reply_code <= pending_code;
                    reply_kind <= pending_code != OK ? FAILED : pending_run ? (REPLY | RUN) : (REPLY | INFO);
                    state <= run_start ? RUNNING : START;
                    if (!run_start) pending <= 1'b0;
                end else if (refused) begin
                    reply_sequence <= refused_sequence;
                    reply_code <= BUSY;
                    reply_kind <= FAILED;
                    refused <= 1'b0;
                    state <= START;
                end
            end
            RUNNING: begin
                timer <= timer - 1'b1;
                if (run_end) state <= START;
                // The frame memory is free again; from here on the slot may hold the next request.
                if (feeding && (fed || run_end)) pending <= 1'b0;
                if (run_end && (feeding || collecting || misframed)) begin
                    fault <= 1'b1;
                    reply_kind <= FAILED;
                    reply_code <= misframed ? OUTPUT : TIMEOUT;
                end
            end
            START: state <= REPLYING;
            default: if (!reply_busy) state <= IDLE;
        endcase
        // Last, so that a request that arrives in the very clock where the slot is emptied is not lost but refused.
        if (request_done && !pending) begin
            pending <= 1'b1;
            pending_run <= request_kind == RUN;
            pending_sequence <= request_sequence;
            pending_code <= request_code;
        end else if (request_done) begin
            refused <= 1'b1;
            refused_sequence <= request_sequence;
        end
        if (rst) begin
            state <= IDLE;
            pending <= 1'b0;
            refused <= 1'b0;
            fault <= 1'b0;
            reply_kind <= 8'd0;
        end
    end

    // ---- Frame memory to accelerator: two clocks a byte, one to read and one to shift in ----
    logic in_phase;
    logic [IN_BYTE-1:0] in_byte;
    logic [8*IN_STRIDE-1:0] in_word;

    assign m_payload = {in_last, in_beat == '0, in_word[IN_BITS-1:0]};

    always_ff @(posedge clk) begin
        if (run_start) begin
            feeding <= 1'b1;
            in_addr <= '0;
            in_beat <= '0;
            in_byte <= '0;
            in_phase <= 1'b0;
        end
        if (feeding && !m_valid) begin
            in_phase <= !in_phase;
            if (in_phase) begin
                in_word <= (8 * IN_STRIDE)'({in_data, in_word} >> 8);
                in_addr <= in_addr + 1'b1;
                in_byte <= in_byte + 1'b1;
                m_valid <= in_byte == IN_BYTE'(IN_STRIDE - 1);
            end
        end
        if (m_valid && m_ready) begin
            m_valid <= 1'b0;
            in_byte <= '0;
            in_beat <= in_beat + 1'b1;
            if (in_last) feeding <= 1'b0;
        end
        if (rst || run_end) begin
            feeding <= 1'b0;
            m_valid <= 1'b0;
        end
    end

    // ---- Accelerator to reply memory: one clock a byte ----
    logic draining;
    logic [OUT_BYTE-1:0] out_byte;
    logic [OUT_BEAT-1:0] out_beat;
    logic [OUT_ADDR-1:0] out_addr;
    logic [8*OUT_STRIDE-1:0] out_word;
    wire out_first = out_beat == '0;
    wire out_last = out_beat == OUT_BEAT'(OUT_BEATS - 1);

    assign s_ready = collecting && !draining;

    always_ff @(posedge clk) begin
        if (run_start) begin
            collecting <= 1'b1;
            draining <= 1'b0;
            misframed <= 1'b0;
            out_addr <= '0;
            out_beat <= '0;
        end
        if (s_valid && s_ready) begin
            out_word <= (8 * OUT_STRIDE)'(s_payload[OUT_BITS-1:0]);
            out_byte <= '0;
            draining <= 1'b1;
            if (s_payload[OUT_BITS+1:OUT_BITS] != {out_last, out_first}) misframed <= 1'b1;
        end
        if (draining) begin
            out_word <= out_word >> 8;
            out_addr <= out_addr + 1'b1;
            out_byte <= out_byte + 1'b1;
            if (out_byte == OUT_BYTE'(OUT_STRIDE - 1)) begin
                draining <= 1'b0;
                out_beat <= out_beat + 1'b1;
                if (out_last) collecting <= 1'b0;
            end
        end
        if (rst || run_end) begin
            collecting <= 1'b0;
            draining <= 1'b0;
        end
    end

    // ---- Replies ----
    logic [LENGTH-1:0] reply_length, index;
    logic [7:0] out_data, info_data, payload, tx_data;
    logic tx_valid, tx_ready;
    uart_ram #(.BYTES(OUT_BYTES), .ADDR(OUT_ADDR)) out_memory (
        .clk, .write(draining), .write_addr(out_addr), .write_data(out_word[7:0]),
        .read_addr(OUT_ADDR'(index)), .read_data(out_data)
    );

    localparam logic [8*INFO_BYTES-1:0] INFO_WORD = {VERSION, GRAPH_ID, 32'(IN_BYTES), 32'(OUT_BYTES)};
    assign info_data = 8'(INFO_WORD >> (8 * (INFO_BYTES - 1 - 32'(index))));

    always_comb begin
        case (reply_kind)
            FAILED: {payload, reply_length} = {5'd0, reply_code, LENGTH'(1)};
            REPLY | RUN: {payload, reply_length} = {out_data, LENGTH'(OUT_BYTES)};
            default: {payload, reply_length} = {info_data, LENGTH'(INFO_BYTES)};
        endcase
    end
    uart_reply #(.LENGTH(LENGTH)) reply (
        .clk, .rst, .start(state == START), .kind(reply_kind), .sequence_no(reply_sequence), .length(reply_length),
        .index, .payload, .busy(reply_busy), .tx_data, .tx_valid, .tx_ready
    );
    uart_tx #(.DIVISOR(DIVISOR)) transmitter (
        .clk, .rst, .data(tx_data), .valid(tx_valid), .ready(tx_ready), .tx(uart_tx)
    );

    assign status = {reply_kind == FAILED, reply_busy, state == RUNNING, receiving};
endmodule

`default_nettype wire
