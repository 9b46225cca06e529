// One byte of CRC-16/CCITT-FALSE: polynomial 0x1021, start value 0xFFFF, most significant bit first, nothing inverted.
// Combinational. A packet followed by its own CRC, high byte first, leaves 0.
`default_nettype none

module uart_crc16 (
    input  wire  [15:0] crc,
    input  wire  [ 7:0] data,
    output logic [15:0] next
);
    always_comb begin
        next = crc ^ {data, 8'h00};
        for (int i = 0; i < 8; i = i + 1) next = {next[14:0], 1'b0} ^ (next[15] ? 16'h1021 : 16'h0000);
    end
endmodule

`default_nettype wire
