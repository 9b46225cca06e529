// Sends one reply: END, type, sequence, payload, CRC, END, with SLIP escapes. Format: docs/protocol.md.
//
// LENGTH: width of the payload's length. `start` is high for one clock with `kind`, `sequence_no` and `length`, which
// must then stay until `busy` falls. The payload's byte number `index` must be on `payload` within 20 clocks after
// `index` changes: nothing here is needed again before the ten bit times of a byte on the line are over.
`default_nettype none

module uart_reply #(
    parameter int unsigned LENGTH = 5
) (
    input  wire               clk,
    input  wire               rst,
    input  wire               start,
    input  wire  [       7:0] kind,
    input  wire  [       7:0] sequence_no,
    input  wire  [LENGTH-1:0] length,
    output logic [LENGTH-1:0] index,
    input  wire  [       7:0] payload,
    output wire               busy,
    output logic [       7:0] tx_data,
    output wire               tx_valid,
    input  wire               tx_ready
);
    localparam logic [7:0] END = 8'hC0, ESC = 8'hDB, ESC_END = 8'hDC, ESC_ESC = 8'hDD;
    localparam logic [2:0] IDLE = 3'd0, OPEN = 3'd1, KIND = 3'd2, SEQUENCE = 3'd3;
    localparam logic [2:0] PAYLOAD = 3'd4, CRC_HIGH = 3'd5, CRC_LOW = 3'd6, CLOSE = 3'd7;

    logic [2:0] state;
    logic escaped;
    logic [7:0] plain;
    logic [15:0] crc, crc_next;

    uart_crc16 check (.crc(crc), .data(plain), .next(crc_next));

    assign busy = state != IDLE;
    assign tx_valid = busy;

    // A register, to keep block RAM and multiplexers out of the paths behind it: the line leaves time for both.
    always_ff @(posedge clk) begin
        case (state)
            KIND: plain <= kind;
            SEQUENCE: plain <= sequence_no;
            CRC_HIGH: plain <= crc[15:8];
            CRC_LOW: plain <= crc[7:0];
            default: plain <= payload;
        endcase
    end

    wire delimiter = state == OPEN || state == CLOSE;
    wire special = !delimiter && (plain == END || plain == ESC);
    always_comb begin
        if (delimiter) tx_data = END;
        else if (!special) tx_data = plain;
        else if (!escaped) tx_data = ESC;
        else tx_data = plain == END ? ESC_END : ESC_ESC;
    end

    wire [LENGTH-1:0] following = index + 1'b1;

    always_ff @(posedge clk) begin
        if (rst) begin
            state <= IDLE;
        end else if (state == IDLE) begin
            index <= '0;
            crc <= 16'hFFFF;
            escaped <= 1'b0;
            if (start) state <= OPEN;
        end else if (tx_ready && special && !escaped) begin
            escaped <= 1'b1;
        end else if (tx_ready) begin
            escaped <= 1'b0;
            if (state == KIND || state == SEQUENCE || state == PAYLOAD) crc <= crc_next;
            if (state == PAYLOAD) index <= following;
            if (state == PAYLOAD && following != length) state <= PAYLOAD;
            else state <= state == CLOSE ? IDLE : state + 3'd1;
        end
    end
endmodule

`default_nettype wire
