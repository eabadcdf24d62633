"""The C evaluator against the plain one, at every instruction set of this machine, and on an emulated ARM."""

import logging
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from difflogic_tonic.netlist import Netlist, class_scores, library, netlist_from_layers, step_scores
from difflogic_tonic.netlist.engine import Engine, to_planes
from difflogic_tonic.netlist.library import KernelUnavailable, find_library, levels_here

found = find_library()
assert found is not None, "these tests need a C compiler"
LEVELS = (*levels_here(found), "numpy")


def bits_of(seed: int, n: int, width: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, (n, width)).astype(np.uint8)


def packed(bits: np.ndarray) -> np.ndarray:
    return np.packbits(bits, axis=1, bitorder="little")


@pytest.mark.parametrize("level", LEVELS)
def test_all_sixteen_gates_on_all_four_inputs(level):
    netlist = Netlist(2, range(16), [0] * 16, [1] * 16, range(2, 18), 16)
    corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    expected = [[gate >> shift & 1 for gate in range(16)] for shift in (3, 2, 1, 0)]
    assert Engine(netlist, level).scores(corners).tolist() == expected
    assert Engine(netlist, level).answers(corners).tolist() == [row.index(1) for row in expected]


@pytest.mark.parametrize("level", LEVELS)
def test_all_sixteen_instructions_on_all_four_inputs(level, monkeypatch: pytest.MonkeyPatch):
    """Not simplified, which would leave some gates out; behind wires, so that no inverter is taken into the count."""
    monkeypatch.setattr("difflogic_tonic.netlist.engine.simplify", lambda netlist: netlist)
    nodes = np.arange(2, 18)
    wired = Netlist(2, [*range(16), *[3] * 16], [*[0] * 16, *nodes], [*[1] * 16, *nodes], nodes + 16, 16)
    corners = np.tile([[0, 0], [0, 1], [1, 0], [1, 1]], (30, 1))
    expected = [[gate >> shift & 1 for gate in range(16)] for shift in (3, 2, 1, 0)] * 30
    for n in (4, 120):  # narrow rows, wide rows
        assert Engine(wired, level).scores(corners[:n]).tolist() == expected[:n]


@given(
    seed=st.integers(0, 2**32),
    n_inputs=st.integers(1, 200),
    n_gates=st.one_of(st.integers(0, 60), st.integers(1, 3000)),
    classes=st.integers(1, 40),
    per_class=st.one_of(st.integers(1, 9), st.integers(250, 600)),
    reach=st.sampled_from([3, 40, 3000]),
    samples=st.sampled_from([1, 2, 63, 64, 65, 511, 512, 513, 1100]),
)
@settings(max_examples=60, deadline=None)
def test_any_circuit_scores_the_same_at_every_level_and_in_every_form(
    random_netlist, seed, n_inputs, n_gates, classes, per_class, reach, samples
):
    netlist = random_netlist(seed, n_inputs, n_gates, classes, per_class, reach)
    bits = bits_of(seed, samples, n_inputs)
    expected = class_scores(netlist, bits)
    for level in LEVELS:
        engine = Engine(netlist, level, threads=2)
        assert np.array_equal(engine.scores(bits), expected), level
        assert np.array_equal(engine.scores(packed(bits), "packed"), expected), level
        assert np.array_equal(engine.scores(to_planes(bits), "planes", samples), expected), level
        assert np.array_equal(engine.answers(bits), expected.argmax(1)), level


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("n_inputs", [2560, 2561, 5189])
def test_samples_of_thousands_of_inputs_are_read_to_their_end(level, n_inputs):
    netlist = Netlist(n_inputs, [], [], [], range(n_inputs), n_inputs)
    bits = bits_of(n_inputs, 530, n_inputs)
    for n in (3, 67, 530):  # narrow rows; wide rows, the last block with fewer words; the same with a full block
        assert np.array_equal(Engine(netlist, level).scores(bits[:n]), bits[:n])
        assert np.array_equal(Engine(netlist, level).scores(packed(bits[:n]), "packed"), bits[:n])


@pytest.mark.parametrize("level", LEVELS)
def test_anything_but_zero_is_a_one_in_arrays_of_any_type_and_stride(level, random_netlist):
    netlist = random_netlist(3, 150, 200, classes=3)
    bits = bits_of(0, 130, 150)
    engine, expected = Engine(netlist, level), class_scores(netlist, bits)
    larger = np.zeros((130, 400), np.uint8)
    larger[:, 100:250] = bits * np.random.default_rng(1).integers(1, 256, bits.shape)
    given = [bits.astype(bool), bits * 7.5, -bits.astype(np.int64), larger[:, 100:250], np.asfortranarray(bits)]
    for inputs in (*given, np.repeat(bits, 2, 1)[:, ::2], larger[::-1, 100:250][::-1]):
        assert np.array_equal(engine.scores(inputs), expected)


@pytest.mark.parametrize("level", LEVELS)
def test_scores_of_more_than_sixteen_bits(level):
    netlist = Netlist(1, [3, 12], [0, 0], [0, 0], [0] * 70_000 + [1] * 69_999 + [2], 2)
    scores = Engine(netlist, level).scores(np.array([[1], [0]] * 40))
    assert scores[:2].tolist() == [[70_000, 69_999], [0, 1]]
    assert (scores == np.tile(scores[:2], (40, 1))).all()


@pytest.mark.parametrize("level", LEVELS)
def test_of_equal_scores_the_first_class_is_the_answer(level):
    netlist = Netlist(3, [], [], [], [0, 1, 1, 0, 2, 2], 3)
    assert Engine(netlist, level).answers(np.array([[1, 1, 1], [1, 1, 0], [0, 0, 0], [0, 0, 1]])).tolist() == [
        0,
        0,
        0,
        2,
    ]


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_the_number_of_threads_changes_nothing(threads):
    rng = np.random.default_rng(0)
    layers = [(rng.integers(0, 16, 300), *rng.integers(0, width, (2, 300))) for width in (100, 300)]
    netlist = netlist_from_layers(100, layers, 10)
    bits = bits_of(1, 5000, 100)
    assert np.array_equal(Engine(netlist, threads=threads).scores(bits), Engine(netlist).scores(bits))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("sequences", [1, 64, 70, 600])
def test_a_state_is_handed_from_step_to_step(random_netlist, level, sequences):
    plain = random_netlist(5, 90, 400, classes=4)
    rng = np.random.default_rng(5)
    netlist = Netlist(90, plain.gates, plain.a, plain.b, plain.outputs, 4, next_state=rng.integers(0, 490, 20))
    frames = rng.integers(0, 2, (5, sequences, 70)).astype(np.uint8)
    expected = step_scores(netlist, frames)
    assert np.array_equal(Engine(netlist, level).step_scores(frames), expected)
    octets = np.packbits(frames, axis=2, bitorder="little")
    assert np.array_equal(Engine(netlist, level, threads=2).step_scores(octets, "packed"), expected)


def test_a_state_of_other_sequences_is_refused():
    engine = Engine(Netlist(2, [6, 1], [0, 0], [1, 1], [3], 1, next_state=[2]))
    _, state = engine.step(np.zeros((3, 1)))
    with pytest.raises(ValueError, match="a state of 3 sequences for 4"):
        engine.step(np.zeros((4, 1)), state)


@pytest.mark.parametrize(
    ("inputs", "form", "n", "message"),
    [
        (np.zeros((3, 8)), "bytes", None, r"samples \[N, 9\], not float64 \[3, 8\]"),
        (np.zeros((3, 2)), "packed", None, r"packed uint8 \[N, 2\], not float64 \[3, 2\]"),
        (np.zeros((2, 9, 8)), "planes", 513, r"planes of 513 samples must be uint64 \[2, 9, 8\], not float64"),
        (np.zeros((1, 9, 8), np.uint64), "planes", 513, r"uint64 \[2, 9, 8\]"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(inputs, form, n, message):
    engine = Engine(Netlist(9, [], [], [], [0], 1))
    with pytest.raises(ValueError, match=message):
        engine.scores(inputs, form, n)


def test_no_samples_have_no_scores():
    engine = Engine(Netlist(9, [], [], [], [0], 1))
    assert engine.scores(np.zeros((0, 9))).shape == (0, 1)


def test_a_level_that_this_machine_lacks_is_refused():
    with pytest.raises(ValueError, match="level sse9, expected one of plain"):
        Engine(Netlist(9, [], [], [], [0], 1), "sse9")


@pytest.mark.parametrize("level", LEVELS)
def test_no_sequences_have_no_scores(level):
    netlist = Netlist(3, [6], [0], [2], [3, 0, 2, 2], 2, next_state=[3])
    nothing = np.zeros((4, 0, 2), bool)
    assert step_scores(netlist, nothing).shape == (4, 0, 2)
    assert Engine(netlist, level).step_scores(nothing).shape == (4, 0, 2)


def test_without_a_library_numpy_computes_the_same_and_one_line_says_so(random_netlist, monkeypatch, caplog):
    def none() -> None:
        raise KernelUnavailable("there is no gcc or cc on the PATH")

    netlist, bits = random_netlist(3, 15, 90, classes=2), bits_of(0, 80, 15)
    monkeypatch.setattr(library, "load_library", none)
    find_library.cache_clear()
    with caplog.at_level(logging.WARNING):
        engines = [Engine(netlist), Engine(netlist)]
    find_library.cache_clear()
    assert [engine.level for engine in engines] == ["numpy", "numpy"]
    assert np.array_equal(engines[0].scores(bits), class_scores(netlist, bits))
    assert [record.message for record in caplog.records] == [
        "circuits are evaluated by numpy, which is tens of times slower: there is no gcc or cc on the PATH"
    ]


def test_an_emulated_arm_processor_computes_the_same(tmp_path: Path, program: Callable[[str], str], random_netlist):
    binary = compiled_by(program("aarch64-linux-gnu-gcc"), tmp_path, "-static")
    run = [program("qemu-aarch64-static"), str(binary)]
    assert_computes_the_same(run, tmp_path, random_netlist, levels=[0, 1])  # plain and NEON


def test_compiled_by_clang_it_computes_the_same(tmp_path: Path, program: Callable[[str], str], random_netlist):
    assert found is not None
    levels = [library.LEVELS.index(name) for name in levels_here(found)]
    binary = compiled_by(program("clang"), tmp_path)
    assert_computes_the_same([str(binary)], tmp_path, random_netlist, levels)


def compiled_by(compiler: str, folder: Path, *options: str) -> Path:
    support = Path(__file__).resolve().parents[1] / "support" / "evaluate_on_another_machine.c"
    sources = [str(path) for path in sorted(library.SOURCES.glob("*.c"))]
    command = [compiler, "-O1", "-std=gnu11", *options, "-pthread", f"-I{library.SOURCES}", *sources, str(support)]
    subprocess.run([*command, "-o", str(folder / "evaluate")], check=True)
    return folder / "evaluate"


def assert_computes_the_same(run: list[str], folder: Path, random_netlist, levels: list[int]) -> None:
    for seed, form in ((1, "bytes"), (2, "packed")):
        netlist = random_netlist(seed, 150, 900, classes=7, per_class=30, reach=200)
        bits = bits_of(seed, 530, 150)
        frames = packed(bits) if form == "packed" else bits
        engine = Engine(netlist)
        words = engine._words
        head = [530, 150, 0, 7, engine._depth, engine.rows, len(words), form == "packed", frames.shape[1]]
        problem = folder / f"{form}.bin"
        problem.write_bytes(np.array(head, np.int64).tobytes() + words.tobytes() + frames.tobytes())
        done = subprocess.run([*run, str(problem)], capture_output=True, text=True, check=True)
        lines = [np.array(line.split(), np.int32) for line in done.stdout.splitlines()]
        assert [line[:2].tolist() for line in lines] == [[level, wide] for level in levels for wide in (0, 1)]
        for line in lines:
            assert np.array_equal(line[2:].reshape(530, 7), class_scores(netlist, bits))
