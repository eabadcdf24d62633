"""A Verilog testbench that checks itself: frames from a file, in words and with pauses, results against another file.

It prints one line, `PASS <frames>` or `FAIL …`, and ends. WORD is the width of the words; PAUSES 0 leaves out the idle
cycles between them, which are drawn at random. `+results=FILE` also writes every result, scores above class, as it
comes.
"""

import numpy as np

from difflogic_tonic.netlist import Headed


def bench_module(headed: Headed, name: str, frames: int, latency: int, longest: int | None = None) -> str:
    """`module NAME_tb` for the module NAME of `top_module` and the files of `vector_files`.

    `latency`: cycles that a result may take. `longest`: frames of the longest sequence, of a module with sums.
    """
    sums = longest is not None
    bits = headed.netlist.n_inputs - headed.netlist.n_state
    has_state = headed.netlist.n_state > 0
    scores = headed.classes * headed.score_bits
    ports = [
        ".clk(clk), .rst(rst), .in_valid(in_valid), .in_ready(in_ready), .in_data(in_data)",
        *([".in_first(in_first)"] if has_state else []),
        ".out_valid(out_valid), .out_class(out_class), .out_scores(out_scores)",
        *([".out_sums(out_sums)"] if sums else []),
    ]
    expected = "{out_scores, out_class}"
    lines = [
        f"module {name}_tb;",
        f"    parameter WORD = {bits};",
        "    parameter PAUSES = 1;",
        f"    localparam WORDS = ({bits} + WORD - 1) / WORD;",
        f"    localparam FRAMES = {frames};",
        "    reg clk = 0, rst = 1, in_valid = 0;",
        *(["    reg in_first = 0;", "    reg [0:0] firsts [0:FRAMES-1];"] if has_state else []),
        "    wire in_ready, out_valid;",
        "    reg [WORD-1:0] in_data = 0;",
        f"    wire [{headed.index_bits - 1}:0] out_class;",
        f"    wire [{scores - 1}:0] out_scores;",
        *([f"    wire [{headed.classes}*({headed.score_bits}+$clog2({longest}))-1:0] out_sums;"] if sums else []),
        "    reg [WORDS*WORD-1:0] frames [0:FRAMES-1];",
        f"    reg [{scores + headed.index_bits - 1}:0] expected [0:FRAMES-1];",
        "    integer i, w, seen = 0, wrong = 0, idle = 0, results = 0;",
        "    reg [8*256-1:0] path;",
        f"    {name} #(.WORD(WORD){f', .FRAMES({longest})' if sums else ''}) dut (",
        "        " + ",\n        ".join(ports),
        "    );",
        "    always #5 clk = ~clk;",
        "    initial begin",
        f'        $readmemh("{name}_frames.hex", frames);',
        f'        $readmemh("{name}_expected.hex", expected);',
        *([f'        $readmemh("{name}_first.hex", firsts);'] if has_state else []),
        '        if ($value$plusargs("results=%s", path)) results = $fopen(path, "w");',
        "        repeat (3) @(posedge clk);",
        "        rst <= 0;",
        "        for (i = 0; i < FRAMES; i = i + 1)",
        "            for (w = 0; w < WORDS; w = w + 1) begin",
        "                in_valid <= 0;",
        "                if (PAUSES != 0) while ($random % 4 == 0) @(posedge clk);",
        "                in_valid <= 1;",
        "                in_data <= frames[i][w*WORD +: WORD];",
        *(["                in_first <= firsts[i];"] if has_state else []),
        "                @(posedge clk);",
        "                while (!in_ready) @(posedge clk);",
        "            end",
        "        in_valid <= 0;",
        "    end",
        "    always @(posedge clk) begin",
        "        idle <= out_valid ? 0 : idle + 1;",
        "        if (out_valid) begin",
        f'            if (results != 0) $fdisplay(results, "%h", {expected});',
        f"            if ({expected} !== expected[seen]) begin",
        f'                if (wrong == 0) $display("frame %0d: %h, expected %h", seen, {expected}, expected[seen]);',
        "                wrong <= wrong + 1;",
        "            end",
        "            seen <= seen + 1;",
        "        end",
        "        if (seen == FRAMES) begin",
        '            if (wrong == 0) $display("PASS %0d", seen);',
        '            else $display("FAIL %0d of %0d", wrong, seen);',
        "            $finish;",
        f"        end else if (idle > 32 * WORDS + {latency + 100}) begin",
        '            $display("FAIL no result after %0d frames", seen);',
        "            $finish;",
        "        end",
        "    end",
        "endmodule",
    ]
    return "\n".join(lines) + "\n"


def vector_files(
    headed: Headed,
    name: str,
    frames: np.ndarray,
    classes: np.ndarray,
    scores: np.ndarray,
    firsts: np.ndarray | None = None,
) -> dict[str, str]:
    """The files of the testbench by name.

    frames bool[N, bits], classes int[N] as `out_class` says them, scores int[N, classes]; firsts bool[N]: where a
    sequence begins, of a circuit with a state.
    """
    index = _bits(classes[:, None], headed.index_bits)
    values = np.concatenate((index, _bits(scores, headed.score_bits)), 1)
    files = {f"{name}_frames.hex": _hex_lines(frames != 0), f"{name}_expected.hex": _hex_lines(values)}
    if firsts is not None:
        files[f"{name}_first.hex"] = _hex_lines(firsts[:, None] != 0)
    return files


def _bits(numbers: np.ndarray, width: int) -> np.ndarray:
    """int[N, n] to bool[N, n * width], the lowest bit of each number first."""
    return ((numbers[:, :, None] >> np.arange(width)) & 1).astype(bool).reshape(len(numbers), -1)


def _hex_lines(rows: np.ndarray) -> str:
    """bool[N, n], one number a row, column 0 its lowest bit."""
    octets = np.packbits(rows, axis=1, bitorder="little")[:, ::-1]
    digits = -(-rows.shape[1] // 4)
    return "".join(row.tobytes().hex()[-digits:] + "\n" for row in octets)
