"""A circuit as one C99 file with its header, and a program that checks it.

Gates stand in functions of at most `GATES_A_FUNCTION`: compilers take more than linear time over one large function.
"""

from pathlib import Path
from string import Template

import numpy as np

from difflogic_tonic.netlist import Circuit, InputCode, Netlist, class_scores, simplify, step_scores
from difflogic_tonic.netlist.program import SUM, assign_rows, instructions, to_program
from difflogic_tonic.storage import write_text

GATES_A_FUNCTION = 100
VECTOR_STEPS = 3
"""Steps of 64 samples in the file of test vectors."""
COUNTED_FRAMES = 8
"""Frames of counts in that file."""

EXPRESSIONS = (
    "0", "{a} & {b}", "{a} & ~{b}", "{a}", "~{a} & {b}", "{b}", "{a} ^ {b}", "{a} | {b}",
    "~({a} | {b})", "~({a} ^ {b})", "~{b}", "{a} | ~{b}", "~{a}", "~{a} | {b}", "~({a} & {b})", "~UINT64_C(0)",
)  # fmt: skip
"""By gate."""

_TEMPLATES = Path(__file__).parent / "c"
_BATCH_DECLARATION = """
/* Any number of frames, their bits one after the other; scores[s * CLASSES + k]. */
void {name}_batch(const uint8_t *bits, size_t n, uint32_t *scores);
"""


def write_c(circuit: Circuit, folder: Path, name: str) -> list[Path]:
    """Write NAME.h, NAME.c, NAME_test.c and NAME_vectors.h into `folder`. `name` is an identifier of C."""
    netlist = simplify(circuit.netlist)
    program = to_program(netlist)
    words, rows = assign_rows(program, netlist)
    values = _facts(circuit, netlist, name, rows, program.depth) | _Code(words, name).values() | _state(netlist, name)
    batch = "" if netlist.n_state else (_TEMPLATES / "batch.c").read_text()
    values["BATCH_DEFINITION"] = Template(batch).substitute(NAME=name).rstrip()
    paths = []
    for template, path in (("circuit.h", f"{name}.h"), ("circuit.c", f"{name}.c"), ("test.c", f"{name}_test.c")):
        text = Template((_TEMPLATES / template).read_text()).substitute(values)
        paths.append(folder / path)
        write_text(paths[-1], text)
    paths.append(folder / f"{name}_vectors.h")
    write_text(paths[-1], _vectors(netlist) + _counts(circuit.code))
    return paths


def _facts(circuit: Circuit, netlist: Netlist, name: str, rows: int, depth: int) -> dict[str, object]:
    code = circuit.code
    channels, height, width = code.frame_shape
    # counts are bytes, so a threshold above 255 is one that they never reach
    thresholds = np.minimum(np.ceil(code.thresholds), 256).astype(int)
    shared = thresholds.shape[1] == 1
    return {
        "NAME": name,
        "GATES": netlist.n_gates,
        "FEATURES": code.features,
        "CHANNELS": channels,
        "HEIGHT": height,
        "WIDTH": width,
        "LEVELS": code.levels,
        "BITS": code.n_bits,
        "BYTES": -(-code.n_bits // 8),
        "CLASSES": netlist.classes,
        "STATE": netlist.n_state,
        "STACK": 8 * (rows + code.n_bits + netlist.classes * (depth + 32)),
        "ROWS": rows,
        "DEPTH": depth,
        "CLASS_NAMES": ", ".join(_quoted(text) for text in circuit.class_names),
        "THRESHOLDS": _numbers(thresholds.ravel()),
        "THRESHOLD_INDEX": "l" if shared else f"l * {name}_FEATURES + f",
    }


def _state(netlist: Netlist, name: str) -> dict[str, str]:
    """What a circuit with a state has besides, and one without it."""
    if not netlist.n_state:
        return {
            **dict.fromkeys(("STATE_TEXT", "STATE_ARGUMENT_TEXT", "STATE_PARAMETER", "STATE_NAME"), ""),
            **dict.fromkeys(("TEST_STATE", "TEST_STATE_64", "TEST_STATE_ONE"), ""),
            "BATCH_DECLARATION": _BATCH_DECLARATION.format(name=name),
            "TEST_BATCH": (
                f"\n        {name}_batch(vectors[step][0], 63, scores);"
                f"\n        if (memcmp(scores, expected[step][0], 63 * sizeof expected[step][0]))"
                f'\n            return wrong("{name}_batch", step, 0);'
            ),
        }
    return {
        "STATE_TEXT": f"\n * There are {netlist.n_state} bits of state: zeros before the first frame of a sequence;"
        "\n * every call reads and replaces them. The frames of a sequence come in order.",
        "STATE_ARGUMENT_TEXT": " Bit 0 of each word is the state.",
        "STATE_PARAMETER": f", uint64_t state[{name}_STATE]",
        "STATE_NAME": ", state",
        "BATCH_DECLARATION": "",
        "TEST_STATE": f"\n    static uint64_t state[{name}_STATE], one[64][{name}_STATE];",
        "TEST_STATE_64": ", state",
        "TEST_STATE_ONE": ", one[s]",
        "TEST_BATCH": "",
    }


class _Code:
    """Functions of gates, the calls of them in order, and the tables that the calls read."""

    def __init__(self, words: np.ndarray, name: str) -> None:
        self.parts: list[str] = []
        self.calls: list[str] = []
        self.counted: list[np.ndarray] = []
        self.n_counted = 0
        self.next_state = ""
        for kind, arguments in instructions(words):
            if kind < SUM:
                self._add_gates(kind, arguments.reshape(-1, 3).tolist())
            elif kind == SUM:
                self._add_count(arguments)
            else:
                self._add_state(arguments, name)

    def values(self) -> dict[str, str]:
        functions = [
            f"\nstatic void part{number}(uint64_t *v)\n{{\n{lines}\n}}" for number, lines in enumerate(self.parts)
        ]
        return {
            "PARTS": "\n".join(functions),
            "CALLS": "\n".join(f"    {call}" for call in self.calls),
            "COUNTED": _numbers(np.concatenate(self.counted)),
            "NEXT_STATE": self.next_state,
        }

    def _add_gates(self, gate: int, pins: list[list[int]]) -> None:
        expression = EXPRESSIONS[gate]
        lines = [f"    v[{row}] = {expression.format(a=f'v[{a}]', b=f'v[{b}]')};" for a, b, row in pins]
        for start in range(0, len(lines), GATES_A_FUNCTION):
            some = lines[start : start + GATES_A_FUNCTION]
            last_is_open = self.calls and self.calls[-1] == f"part{len(self.parts) - 1}(v);"
            if last_is_open and self.parts[-1].count("\n") + 1 + len(some) <= GATES_A_FUNCTION:
                self.parts[-1] += "\n" + "\n".join(some)
            else:
                self.calls.append(f"part{len(self.parts)}(v);")
                self.parts.append("\n".join(some))

    def _add_count(self, arguments: np.ndarray) -> None:
        label, n, flipped = arguments[:3].tolist()
        rows = arguments[3:]
        for start, many, flip in ((0, n, "0"), (n, flipped, "~UINT64_C(0)")):
            if many:
                self.calls.append(f"count(planes[{label}], v, counted + {self.n_counted + start}, {many}, {flip});")
        self.counted.append(rows)
        self.n_counted += len(rows)

    def _add_state(self, rows: np.ndarray, name: str) -> None:
        self.next_state = f"\nstatic const uint32_t next_state[] = {{\n{_numbers(rows)}\n}};\n"
        self.calls.insert(0, f"memcpy(v + {name}_BITS, state, sizeof(uint64_t) * {name}_STATE);")
        self.calls.append(f"for (int i = 0; i < {name}_STATE; i++)")
        self.calls.append("    state[i] = v[next_state[i]];")


def _vectors(netlist: Netlist) -> str:
    """Random samples of three densities and their scores by the reference evaluator; with a state, three steps."""
    rng = np.random.default_rng(0)
    density = np.array([0.5, 0.1, 0.9])[:VECTOR_STEPS, None, None]
    bits = rng.random((VECTOR_STEPS, 64, netlist.n_inputs - netlist.n_state)) < density
    if netlist.n_state:
        scores = step_scores(netlist, bits)
    else:
        scores = class_scores(netlist, bits.reshape(VECTOR_STEPS * 64, -1)).reshape(VECTOR_STEPS, 64, -1)
    octets = np.packbits(bits, axis=2, bitorder="little")
    return (
        f"#define STEPS {VECTOR_STEPS}\n"
        f"static const uint8_t vectors[STEPS][64][{octets.shape[2]}] = {{\n{_entries(octets)}\n}};\n"
        f"static const uint32_t expected[STEPS][64][{scores.shape[2]}] = {{\n{_entries(scores)}\n}};\n"
    )


def _counts(code: InputCode) -> str:
    """Frames of counts, each value at a threshold, right below one or at an end of its range, and their bits."""
    rng = np.random.default_rng(0)
    shape = (COUNTED_FRAMES, code.features)
    thresholds = np.ceil(np.broadcast_to(code.thresholds, (code.levels, code.features)))
    reached = thresholds[rng.integers(0, code.levels, shape), np.arange(code.features)]
    counts = np.choose(rng.integers(0, 4, shape), (reached, reached - 1, 0, 255)).clip(0, 255).astype(np.uint8)
    octets = np.packbits(code.bits(counts), axis=1, bitorder="little")
    return (
        f"#define COUNTED {COUNTED_FRAMES}\n"
        f"static const uint8_t counts[COUNTED][{counts.shape[1]}] = {{\n{_entries(counts)}\n}};\n"
        f"static const uint8_t encoded[COUNTED][{octets.shape[1]}] = {{\n{_entries(octets)}\n}};\n"
    )


def _entries(numbers: np.ndarray) -> str:
    """What stands between the outer braces of an array."""
    if numbers.ndim == 1:
        return ",".join(map(str, numbers.tolist()))
    return ",\n".join("{" + _entries(part) + "}" for part in numbers)


def _numbers(numbers: np.ndarray) -> str:
    """Sixteen to a line."""
    texts = list(map(str, numbers.tolist()))
    return ",\n".join("    " + ", ".join(texts[start : start + 16]) for start in range(0, len(texts), 16))


def _quoted(text: str) -> str:
    """A string of C: anything but plain characters as octal bytes."""
    plain = [chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}" for byte in text.encode()]
    return '"' + "".join(plain) + '"'
