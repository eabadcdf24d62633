"""A discretised logic network as gates and wires: simplify, count, evaluate, save. Needs neither torch nor a model.

| module     | what it holds                                                            |
|------------|--------------------------------------------------------------------------|
| `gates`    | the sixteen gates as truth tables, and their composition                 |
| `circuit`  | `Netlist`: flat arrays of gates, outputs grouped by class                |
| `graph`    | levels and live nodes                                                    |
| `trees`    | from convolutional logic trees                                           |
| `simplify` | constants, wires, inverters, reconvergence, equal gates, dead gates      |
| `counting` | gates by type, depth, unused inputs                                      |
| `evaluate` | 64 samples per word: the reference for faster evaluators and exporters   |
| `head`     | counting and comparing the outputs of the classes, as gates              |
| `engine`   | the fast evaluator, in C (`library`, `kernel/`), of what `program` makes |
| `steps`    | circuits with a state, over the steps of a sequence                      |
| `description` | how a frame becomes inputs, what the classes are called               |
| `saving`   | JSON with a checksum                                                     |
| `blif`, `aiger` | formats of other tools, without classes                             |
"""

from difflogic_tonic.netlist.circuit import Netlist, netlist_from_layers
from difflogic_tonic.netlist.counting import Counts, count
from difflogic_tonic.netlist.description import Circuit, InputCode
from difflogic_tonic.netlist.engine import Engine, State, to_planes
from difflogic_tonic.netlist.evaluate import class_scores, evaluate, evaluate_words, pack_samples, unpack_samples
from difflogic_tonic.netlist.gates import GATE_NAMES
from difflogic_tonic.netlist.head import Headed, with_head
from difflogic_tonic.netlist.saving import load_circuit, load_netlist, save_circuit, save_netlist
from difflogic_tonic.netlist.simplify import simplify
from difflogic_tonic.netlist.steps import one_step, step, step_scores
from difflogic_tonic.netlist.trees import TreeLayer, netlist_from_trees

__all__ = [
    "GATE_NAMES",
    "Circuit",
    "Counts",
    "Engine",
    "Headed",
    "InputCode",
    "Netlist",
    "State",
    "TreeLayer",
    "class_scores",
    "count",
    "evaluate",
    "evaluate_words",
    "load_circuit",
    "load_netlist",
    "netlist_from_layers",
    "netlist_from_trees",
    "one_step",
    "pack_samples",
    "save_circuit",
    "save_netlist",
    "simplify",
    "step",
    "step_scores",
    "to_planes",
    "unpack_samples",
    "with_head",
]
