"""The module around a circuit: frames in words, valid signals, the state of a recurrent network, sums over a sequence.

    clk, rst            synchronous; while rst is high nothing is valid. Data is never reset
    in_valid, in_data   a word of WORD bits is taken in a cycle in which in_valid and in_ready are high; the lowest bits
    in_ready            of a frame come first, what fills up its last word does not matter
    in_first            (with a state) high beside all words of the first frame of a sequence
    out_valid           high for one cycle for each frame, in order
    out_class           the first class with the highest score
    out_scores          ones of each class, class 0 in the lowest bits
    out_sums            (with sums) the scores added up over the frames of the sequence so far; out_class is the first
                        class with the highest sum. Enough bits for FRAMES frames

A frame is accepted every ceil(bits / WORD) cycles; with a state only after the frame before it has left the circuit.
"""

from difflogic_tonic.deploy.pipeline import pipeline
from difflogic_tonic.netlist import Headed

FRAMES = 256
"""Default of the parameter FRAMES."""


def top_module(headed: Headed, name: str, every: int = 0, sums: bool = False) -> str:
    """`module NAME` around the `NAME_core` that `core_module` writes for the same arguments."""
    latency = pipeline(headed.netlist, every).latency
    has_state = headed.netlist.n_state > 0
    assert has_state or not sums, "only a sequence has sums"
    lines = [
        *_ports(headed, name, sums),
        *_loader(has_state),
        *(_state(headed.netlist.n_state) if has_state else ["    assign in_ready = 1'b1;"]),
        *_core(headed, name, latency),
        *_flight(latency, has_state),
        *(_sums(headed) if sums else _plain()),
        "endmodule",
    ]
    return "\n".join(lines) + "\n"


def _ports(headed: Headed, name: str, sums: bool) -> list[str]:
    bits = headed.netlist.n_inputs - headed.netlist.n_state
    scores = headed.classes * headed.score_bits
    sum_bits = f"{headed.score_bits} + $clog2(FRAMES)"
    return [
        f"module {name} #(",
        f"    parameter WORD = {bits}" + ("," if sums else ""),
        *([f"    parameter FRAMES = {FRAMES}"] if sums else []),
        ") (",
        "    input wire clk,",
        "    input wire rst,",
        "    input wire in_valid,",
        "    output wire in_ready,",
        "    input wire [WORD-1:0] in_data,",
        *(["    input wire in_first,"] if headed.netlist.n_state else []),
        "    output reg out_valid,",
        f"    output {'wire' if sums else 'reg'} [{headed.index_bits - 1}:0] out_class,",
        *([f"    output reg [{headed.classes}*({sum_bits})-1:0] out_sums,"] if sums else []),
        f"    output reg [{scores - 1}:0] out_scores",
        ");",
        f"    localparam WORDS = ({bits} + WORD - 1) / WORD;",
    ]


def _loader(has_state: bool) -> list[str]:
    return [
        "    wire taken = in_valid && in_ready;",
        "    reg loaded;",
        "    // The bits that fill up the last word are read by nothing.",
        "    /* verilator lint_off UNUSEDSIGNAL */",
        "    reg [WORDS*WORD-1:0] frame;",
        "    /* verilator lint_on UNUSEDSIGNAL */",
        *(["    reg first;", "    always @(posedge clk) if (taken) first <= in_first;"] if has_state else []),
        "    generate",
        "        if (WORDS == 1) begin : g_whole",
        "            always @(posedge clk) begin",
        "                if (taken) frame <= in_data;",
        "                loaded <= taken && !rst;",
        "            end",
        "        end else begin : g_words",
        "            // Words wait beside the frame, so that the gates switch once for a frame and not for every word.",
        "            localparam [31:0] LAST = WORDS - 1;",
        "            reg [LAST*WORD-1:0] waiting;",
        "            wire [LAST*WORD-1:0] shifted;",
        "            reg [$clog2(WORDS)-1:0] count;",
        "            wire last = count == LAST[$clog2(WORDS)-1:0];",
        "            always @(posedge clk) begin",
        "                if (taken && last) frame <= {in_data, waiting};",
        "                if (taken) waiting <= shifted;",
        "                loaded <= taken && last && !rst;",
        "                if (rst) count <= 0;",
        "                else if (taken) count <= last ? 0 : count + 1'b1;",
        "            end",
        "            if (WORDS == 2) begin : g_two",
        "                assign shifted = in_data;",
        "            end else begin : g_more",
        "                assign shifted = {in_data, waiting[LAST*WORD-1:WORD]};",
        "            end",
        "        end",
        "    endgenerate",
    ]


def _state(n_state: int) -> list[str]:
    return [
        "    wire flying;",
        "    wire done;",
        f"    wire [{n_state - 1}:0] next_state;",
        f"    reg [{n_state - 1}:0] state;",
        "    always @(posedge clk) if (done) state <= next_state;",
        "    assign in_ready = !loaded && !flying;",
    ]


def _core(headed: Headed, name: str, latency: int) -> list[str]:
    netlist = headed.netlist
    ports = [
        *([".clk(clk)"] if latency else []),
        f".frame(frame[{netlist.n_inputs - netlist.n_state - 1}:0])",
        *([f".state(first ? {netlist.n_state}'b0 : state)", ".next_state(next_state)"] if netlist.n_state else []),
        ".class_index(class_index)",
        ".scores(scores)",
    ]
    return [
        f"    wire [{headed.index_bits - 1}:0] class_index;",
        f"    wire [{headed.classes * headed.score_bits - 1}:0] scores;",
        f"    {name}_core core ({', '.join(ports)});",
    ]


def _flight(latency: int, has_state: bool) -> list[str]:
    """`done`: the results of a frame are there. `flying`: a frame is in the registers of the circuit."""
    declare = "assign" if has_state else "wire"
    if not latency:
        return [f"    {declare} done = loaded;", *(["    assign flying = 1'b0;"] if has_state else [])]
    shifted = "loaded" if latency == 1 else f"{{stages[{latency - 2}:0], loaded}}"
    return [
        f"    reg [{latency - 1}:0] stages;",
        f"    always @(posedge clk) stages <= rst ? {latency}'b0 : {shifted};",
        f"    {declare} done = stages[{latency - 1}];",
        *(["    assign flying = |stages;"] if has_state else []),
    ]


def _plain() -> list[str]:
    return [
        "    always @(posedge clk) begin",
        "        out_valid <= done && !rst;",
        "        if (done) out_class <= class_index;",
        "        if (done) out_scores <= scores;",
        "    end",
    ]


def _sums(headed: Headed) -> list[str]:
    classes, score, index = headed.classes, headed.score_bits, headed.index_bits
    return [
        f"    localparam SUM = {score} + $clog2(FRAMES);",
        "    integer k;",
        "    always @(posedge clk) begin",
        "        out_valid <= done && !rst;",
        "        if (done) out_scores <= scores;",
        f"        if (done) for (k = 0; k < {classes}; k = k + 1)",
        "            out_sums[k*SUM +: SUM] <= (first ? {SUM{1'b0}} : out_sums[k*SUM +: SUM])",
        f"                + {{{{(SUM-{score}){{1'b0}}}}, scores[k*{score} +: {score}]}};",
        "    end",
        "    // The class of a single frame is not asked for.",
        "    /* verilator lint_off UNUSEDSIGNAL */",
        "    wire unused = |class_index;",
        "    /* verilator lint_on UNUSEDSIGNAL */",
        f"    reg [{index - 1}:0] best;",
        "    reg [SUM-1:0] most;",
        "    integer j;",
        "    always @* begin",
        "        best = 0;",
        "        most = out_sums[0 +: SUM];",
        f"        for (j = 1; j < {classes}; j = j + 1)",
        "            if (out_sums[j*SUM +: SUM] > most) begin",
        f"                best = j[{index - 1}:0];",
        "                most = out_sums[j*SUM +: SUM];",
        "            end",
        "    end",
        "    assign out_class = best;",
    ]
