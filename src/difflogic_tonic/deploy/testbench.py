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
    lines = [
        f"module {name}_tb;",
        *_declarations(headed, frames, longest),
        *_instance(headed, name, longest),
        "    always #5 clk = ~clk;",
        *_frames_in(headed, name),
        *_results_out(latency),
        "endmodule",
    ]
    return "\n".join(lines) + "\n"


def _declarations(headed: Headed, frames: int, longest: int | None) -> list[str]:
    bits = headed.netlist.n_inputs - headed.netlist.n_state
    scores = headed.classes * headed.score_bits
    return [
        f"    parameter WORD = {bits};",
        "    parameter PAUSES = 1;",
        f"    localparam WORDS = ({bits} + WORD - 1) / WORD;",
        f"    localparam FRAMES = {frames};",
        "    reg clk = 0, rst = 1, in_valid = 0;",
        *_where(headed.netlist.n_state, "    reg in_first = 0;", "    reg [0:0] firsts [0:FRAMES-1];"),
        "    wire in_ready, out_valid;",
        "    reg [WORD-1:0] in_data = 0;",
        f"    wire [{headed.index_bits - 1}:0] out_class;",
        f"    wire [{scores - 1}:0] out_scores;",
        *_where(longest, f"    wire [{headed.classes}*({headed.score_bits}+$clog2({longest}))-1:0] out_sums;"),
        "    reg [WORDS*WORD-1:0] frames [0:FRAMES-1];",
        f"    reg [{scores + headed.index_bits - 1}:0] expected [0:FRAMES-1];",
        "    integer i, w, seen = 0, wrong = 0, idle = 0, results = 0;",
        "    reg [8*256-1:0] path;",
    ]


def _instance(headed: Headed, name: str, longest: int | None) -> list[str]:
    ports = [
        ".clk(clk), .rst(rst), .in_valid(in_valid), .in_ready(in_ready), .in_data(in_data)",
        *_where(headed.netlist.n_state, ".in_first(in_first)"),
        ".out_valid(out_valid), .out_class(out_class), .out_scores(out_scores)",
        *_where(longest, ".out_sums(out_sums)"),
    ]
    frames = "" if longest is None else f", .FRAMES({longest})"
    return [f"    {name} #(.WORD(WORD){frames}) dut (", "        " + ",\n        ".join(ports), "    );"]


def _frames_in(headed: Headed, name: str) -> list[str]:
    """Reads the files and hands over one frame after the other."""
    return [
        "    initial begin",
        f'        $readmemh("{name}_frames.hex", frames);',
        f'        $readmemh("{name}_expected.hex", expected);',
        *_where(headed.netlist.n_state, f'        $readmemh("{name}_first.hex", firsts);'),
        '        if ($value$plusargs("results=%s", path)) results = $fopen(path, "w");',
        "        repeat (3) @(posedge clk);",
        "        rst <= 0;",
        "        for (i = 0; i < FRAMES; i = i + 1)",
        "            for (w = 0; w < WORDS; w = w + 1) begin",
        "                in_valid <= 0;",
        "                if (PAUSES != 0) while ($random % 4 == 0) @(posedge clk);",
        "                in_valid <= 1;",
        "                in_data <= frames[i][w*WORD +: WORD];",
        *_where(headed.netlist.n_state, "                in_first <= firsts[i];"),
        "                @(posedge clk);",
        "                while (!in_ready) @(posedge clk);",
        "            end",
        "        in_valid <= 0;",
        "    end",
    ]


def _results_out(latency: int) -> list[str]:
    """Compares and writes every result, and ends the simulation."""
    result = "{out_scores, out_class}"
    return [
        "    always @(posedge clk) begin",
        "        idle <= out_valid ? 0 : idle + 1;",
        "        if (out_valid) begin",
        f'            if (results != 0) $fdisplay(results, "%h", {result});',
        f"            if ({result} !== expected[seen]) begin",
        f'                if (wrong == 0) $display("frame %0d: %h, expected %h", seen, {result}, expected[seen]);',
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
    ]


def _where(condition: int | None, *lines: str) -> list[str]:
    """The lines of something that not every circuit has."""
    return list(lines) if condition else []


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
