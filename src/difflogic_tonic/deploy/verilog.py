"""A circuit as a Verilog module (IEEE 1364-2005), one wire for each gate, for simulators and for synthesis."""

from collections.abc import Iterator

from difflogic_tonic.deploy.pipeline import Pipeline, pipeline
from difflogic_tonic.netlist import Headed, Netlist
from difflogic_tonic.netlist.gates import GATE_NAMES

EXPRESSIONS = {
    "FALSE": "1'b0",
    "AND": "{a} & {b}",
    "A_AND_NOT_B": "{a} & ~{b}",
    "A": "{a}",
    "NOT_A_AND_B": "~{a} & {b}",
    "B": "{b}",
    "XOR": "{a} ^ {b}",
    "OR": "{a} | {b}",
    "NOR": "~({a} | {b})",
    "XNOR": "~({a} ^ {b})",
    "NOT_B": "~{b}",
    "A_OR_NOT_B": "{a} | ~{b}",
    "NOT_A": "~{a}",
    "NOT_A_OR_B": "~{a} | {b}",
    "NAND": "~({a} & {b})",
    "TRUE": "1'b1",
}

_RESERVED = """
    always and assign automatic begin buf bufif0 bufif1 case casex casez cell cmos config deassign default
    defparam design disable edge else end endcase endconfig endfunction endgenerate endmodule endprimitive
    endspecify endtable endtask event for force forever fork function generate genvar highz0 highz1 if ifnone
    incdir include initial inout input instance integer join large liblist library localparam macromodule medium
    module nand negedge nmos nor noshowcancelled not notif0 notif1 or output parameter pmos posedge primitive
    pull0 pull1 pulldown pullup pulsestyle_ondetect pulsestyle_onevent rcmos real realtime reg release repeat
    rnmos rpmos rtran rtranif0 rtranif1 scalared showcancelled signed small specify specparam strong0 strong1
    supply0 supply1 table task time tran tranif0 tranif1 tri tri0 tri1 triand trior trireg unsigned use uwire
    vectored wait wand weak0 weak1 while wire wor xnor xor
"""
KEYWORDS = frozenset(_RESERVED.split())
"""Of IEEE 1364-2005, annex B: names that no module can have."""


def core_module(headed: Headed, name: str, every: int = 0) -> str:
    """`module NAME_core`: `every` levels of gates between registers, 0 for a combinational circuit."""
    netlist = headed.netlist
    stages = pipeline(netlist, every)
    width = netlist.n_inputs - netlist.n_state
    ports = ["input wire clk"] if stages.latency else []
    ports += [f"input wire [{width - 1}:0] frame"]
    ports += [f"input wire [{netlist.n_state - 1}:0] state"] if netlist.n_state else []
    ports += [f"output wire [{headed.index_bits - 1}:0] class_index"]
    ports += [f"output wire [{headed.classes * headed.score_bits - 1}:0] scores"]
    ports += [f"output wire [{netlist.n_state - 1}:0] next_state"] if netlist.n_state else []
    lines = [
        f"// {netlist.n_gates} gates, {stages.registers} registers; results {stages.latency} cycles after a frame.",
        "// Not every bit of a frame has to be read by a gate.",
        "/* verilator lint_off UNUSEDSIGNAL */",
        f"module {name}_core (",
        ",\n".join(f"    {port}" for port in ports),
        ");",
        *_gates(netlist, stages),
        *_registers(netlist, stages),
        *_results(headed, stages),
        "endmodule",
        "/* verilator lint_on UNUSEDSIGNAL */",
    ]
    return "\n".join(lines) + "\n"


def _value(netlist: Netlist, stages: Pipeline, node: int, stage: int) -> str:
    """What a node is called in a stage: itself in its own, a register that holds it in later ones."""
    if stage > stages.stages[node]:
        return f"n{node}_{stage}"
    if node >= netlist.n_inputs:
        return f"n{node}"
    frame_bits = netlist.n_inputs - netlist.n_state
    return f"frame[{node}]" if node < frame_bits else f"state[{node - frame_bits}]"


def _gates(netlist: Netlist, stages: Pipeline) -> Iterator[str]:
    columns = zip(netlist.gates.tolist(), netlist.a.tolist(), netlist.b.tolist(), strict=True)
    for node, (gate, a, b) in enumerate(columns, netlist.n_inputs):
        stage = int(stages.stages[node])
        pins = {"a": _value(netlist, stages, a, stage), "b": _value(netlist, stages, b, stage)}
        yield f"    wire n{node} = {EXPRESSIONS[GATE_NAMES[gate]].format(**pins)};"


def _registers(netlist: Netlist, stages: Pipeline) -> Iterator[str]:
    waits = [
        (node, stage)
        for node, (first, last) in enumerate(zip(stages.stages.tolist(), stages.last.tolist(), strict=True))
        for stage in range(first + 1, last + 1)
    ]
    if not waits:
        return
    yield from (f"    reg n{node}_{stage};" for node, stage in waits)
    yield "    always @(posedge clk) begin"
    for node, stage in waits:
        yield f"        n{node}_{stage} <= {_value(netlist, stages, node, stage - 1)};"
    yield "    end"


def _results(headed: Headed, stages: Pipeline) -> Iterator[str]:
    netlist = headed.netlist
    bits = [_value(netlist, stages, node, stages.latency) for node in netlist.roots.tolist()]
    ends = [headed.index_bits, netlist.n_outputs, len(bits)]
    for name, start, end in zip(("class_index", "scores", "next_state"), [0, *ends], ends, strict=False):
        if start < end:
            listed = ",\n        ".join(reversed(bits[start:end]))
            yield f"    assign {name} = {{\n        {listed}}};"
