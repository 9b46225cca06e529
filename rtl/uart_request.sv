// Receives requests: SLIP framing, header, CRC. Format and codes: docs/protocol.md.
//
// IN_BYTES: payload bytes of a RUN request. ADDR: width of the frame memory's address.
// The payload is written to the frame memory as it arrives; `locked` says that the memory holds a frame that is still
// in use, and a payload that meets it is dropped and answered with BUSY. When a packet ends, `done` is high for one
// clock with `kind`, `sequence_no` and `code` (0: sound; else the error to answer with). Only then may the frame be used.
`default_nettype none

module uart_request #(
    parameter int unsigned IN_BYTES = 16,
    parameter int unsigned ADDR = 4
) (
    input  wire             clk,
    input  wire             rst,
    input  wire  [     7:0] data,
    input  wire             valid,
    input  wire             error,
    input  wire             locked,
    output logic            write,
    output logic [ADDR-1:0] write_addr,
    output logic [     7:0] write_data,
    output wire             active,
    output logic            done,
    output logic [     7:0] kind,
    output logic [     7:0] sequence_no,
    output logic [     2:0] code
);
    localparam logic [7:0] END = 8'hC0, ESC = 8'hDB, ESC_END = 8'hDC, ESC_ESC = 8'hDD;
    localparam logic [7:0] INFO = 8'h01, RUN = 8'h02;
    localparam logic [2:0] OK = 3'd0, CORRUPT = 3'd1, LENGTH = 3'd2, UNKNOWN = 3'd3, BUSY = 3'd4;

    // Bytes of the packet so far; one more than the longest legal packet means "too long".
    localparam int unsigned COUNT = $clog2(IN_BYTES + 6);
    localparam logic [COUNT-1:0] RUN_LENGTH = COUNT'(IN_BYTES + 4);
    logic [COUNT-1:0] count;
    logic escaped, bad, overrun;
    logic [15:0] crc, crc_next;

    wire [7:0] plain = !escaped ? data : data == ESC_END ? END : ESC;
    uart_crc16 check (.crc(crc), .data(plain), .next(crc_next));

    assign active = count != '0;

    always_ff @(posedge clk) begin
        write <= 1'b0;
        done <= 1'b0;
        if (error) bad <= 1'b1;
        if (valid && data == END) begin
            done <= count != '0;
            if (bad || escaped) code <= CORRUPT;
            else if (count < COUNT'(4)) code <= LENGTH;
            else if (crc != 16'h0000) code <= CORRUPT;
            else if (kind == INFO) code <= count == COUNT'(4) ? OK : LENGTH;
            else if (kind != RUN) code <= UNKNOWN;
            else if (count != RUN_LENGTH) code <= LENGTH;
            else code <= overrun ? BUSY : OK;
        end else if (valid && data == ESC && !escaped) begin
            escaped <= 1'b1;
        end else if (valid) begin
            escaped <= 1'b0;
            if (escaped && data != ESC_END && data != ESC_ESC) bad <= 1'b1;
            crc <= crc_next;
            if (count <= RUN_LENGTH) count <= count + 1'b1;
            if (count == COUNT'(0)) kind <= plain;
            if (count == COUNT'(1)) sequence_no <= plain;
            if (count >= COUNT'(2) && count < COUNT'(IN_BYTES + 2)) begin
                write <= !locked;
                write_addr <= ADDR'(count - COUNT'(2));
                write_data <= plain;
                if (locked) overrun <= 1'b1;
            end
        end
        // An END opens the next packet, whatever came before it.
        if (rst || (valid && data == END)) begin
            count <= '0;
            crc <= 16'hFFFF;
            escaped <= 1'b0;
            bad <= 1'b0;
            overrun <= 1'b0;
        end
        if (rst) done <= 1'b0;
    end
endmodule

`default_nettype wire
