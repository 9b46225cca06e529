// Watches one stream: compares its beats with a file, and holds it to the rules of streams.
//
// With `check`, the codes of every beat are compared with FILE (as bench_source reads it). Always checked:
// `first` and `last` stand at the first and last of BEATS beats, and a beat that waits neither changes nor goes away.
// `report` makes it write one line of counts, with the first fault of each kind, to the open file `result`.
`default_nettype none

module bench_monitor #(
    parameter int INDEX = 0,
    parameter int BITS = 8,
    parameter int BEATS = 1,
    parameter string FILE = "expected_0.bin"
) (
    input  wire              clk,
    input  wire              rst,
    input  wire              load,
    input  wire              check,
    input  wire              report,
    input  wire        [31:0] result,
    input  wire [BITS+1:0]   payload,
    input  wire              valid,
    input  wire              ready,
    output wire              moved,
    output wire              first,
    output wire              last
);
    localparam int BYTES = (BITS + 7) / 8;
    localparam int CHUNK = 256;

    logic [8*BYTES-1:0] chunk[CHUNK];
    int file = 0, have = 0, index = 0, beat = 0;
    longint frame = 0;
    logic [8*BYTES-1:0] word;

    longint wrong = 0, wrong_frame = 0, misframed = 0, misframed_frame = 0, unstable = 0, unstable_frame = 0, extra = 0;
    int wrong_beat = 0, misframed_beat = 0, unstable_beat = 0;
    logic [BITS-1:0] got = '0, want = '0;
    logic [1:0] marks = '0;
    logic waiting = 1'b0;
    logic [BITS+1:0] held = '0;

    assign moved = valid && ready;
    assign first = moved && beat == 0;
    assign last = moved && beat == BEATS - 1;

    task automatic compare();
        if (index == have) begin
            have = $fread(chunk, file) / BYTES;
            index = 0;
        end
        if (have == 0) extra = extra + 1;
        else begin
            word = {<<8{chunk[index]}};
            index = index + 1;
            if (word[BITS-1:0] !== payload[BITS-1:0]) begin
                if (wrong == 0) begin
                    wrong_frame = frame;
                    wrong_beat = beat;
                    got = payload[BITS-1:0];
                    want = word[BITS-1:0];
                end
                wrong = wrong + 1;
            end
        end
    endtask

    always @(posedge clk) begin
        if (load) begin
            if (file != 0) $fclose(file);
            file = 0;
            if (check) begin
                file = $fopen(FILE, "rb");
                if (file == 0) $fatal(1, "cannot open %s", FILE);
            end
            {have, index} = '0;
            beat <= 0;
            {frame, wrong, misframed, unstable, extra} = '0;
            {waiting, got, want} = '0;
        end else if (!rst) begin
            if (waiting && (!valid || payload !== held)) begin
                if (unstable == 0) begin
                    unstable_frame = frame;
                    unstable_beat = beat;
                end
                unstable = unstable + 1;
            end
            waiting = valid && !ready;
            if (waiting) held = payload;
            if (valid && ready) begin
                if (payload[BITS+:2] !== {beat == BEATS - 1, beat == 0}) begin
                    if (misframed == 0) begin
                        misframed_frame = frame;
                        misframed_beat = beat;
                        marks = payload[BITS+:2];
                    end
                    misframed = misframed + 1;
                end
                if (check) compare();
                // Others see `beat` through `first` and `last`, so it changes after the clock edge.
                beat <= beat == BEATS - 1 ? 0 : beat + 1;
                if (beat == BEATS - 1) frame = frame + 1;
            end
        end
        if (report) begin
            $fdisplay(result, "%0d frames %0d beat %0d valid %0d ready %0d extra %0d", INDEX, frame, beat, valid, ready, extra);
            $fdisplay(result, "%0d wrong %0d frame %0d beat %0d got %h want %h", INDEX, wrong, wrong_frame, wrong_beat, got, want);
            $fdisplay(result, "%0d misframed %0d frame %0d beat %0d first %0d last %0d", INDEX, misframed, misframed_frame, misframed_beat, marks[0], marks[1]);
            $fdisplay(result, "%0d unstable %0d frame %0d beat %0d", INDEX, unstable, unstable_frame, unstable_beat);
        end
    end
endmodule

`default_nettype wire
