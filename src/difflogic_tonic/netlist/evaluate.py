"""Running a circuit, 64 samples per machine word: the reference that exporters and faster evaluators are tested with.

Words are uint64[rows, ceil(N / 64)]: one row per node, sample s is bit s % 64 (from the lowest) of word s // 64.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from difflogic_tonic.netlist.circuit import Netlist
from difflogic_tonic.netlist.gates import POLYNOMIAL

WORD = np.dtype("<u8")  # explicit, so that bytes of a word are samples in order on every machine

BLOCK_BYTES = 2**26
"""Memory for the nodes of the samples that run at a time; 64 samples where even one word per node needs more."""

_ONES = np.uint64(2**64 - 1)


def evaluate(netlist: Netlist, inputs: np.ndarray, packed: bool = False) -> NDArray[np.bool_]:
    """Outputs bool[N, n_outputs] of samples `inputs` [N, n_inputs], where anything but 0 is a one.

    With `packed`, inputs are uint8[N, ceil(n_inputs / 8)], input i in bit i % 8 (from the lowest) of byte i // 8, the
    layout of a bit-packed frame cache.
    """
    outputs = np.empty((len(inputs), netlist.n_outputs), bool)
    for start, bits in _blocks(netlist, inputs, packed):
        outputs[start : start + len(bits)] = bits
    return outputs


def class_scores(netlist: Netlist, inputs: np.ndarray, packed: bool = False) -> NDArray[np.int32]:
    """Number of ones among the outputs of each class, int32[N, classes]; the logits are this / netlist.tau.

    Inputs as in `evaluate`.
    """
    scores = np.empty((len(inputs), netlist.classes), np.int32)
    for start, bits in _blocks(netlist, inputs, packed):
        scores[start : start + len(bits)] = bits.reshape(len(bits), netlist.classes, -1).sum(2, dtype=np.int32)
    return scores


def evaluate_words(netlist: Netlist, words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Words of the inputs, uint64[n_inputs, W], to words of the outputs, uint64[n_outputs, W]."""
    if words.dtype != np.uint64 or words.ndim != 2 or len(words) != netlist.n_inputs:
        raise ValueError(f"words must be uint64 [{netlist.n_inputs}, W], not {words.dtype} {list(words.shape)}")
    values = np.empty((netlist.n_nodes, words.shape[1]), np.uint64)
    values[: netlist.n_inputs] = words
    for rows in netlist.batches:
        a, b = values[netlist.a[rows]], values[netlist.b[rows]]
        c0, c1, c2, c3 = (POLYNOMIAL[netlist.gates[rows]].T * _ONES)[:, :, None]
        values[netlist.n_inputs + rows] = c0 ^ (c1 & a) ^ (b & (c2 ^ (c3 & a)))
    return values[netlist.outputs]


def pack_samples(bits: np.ndarray) -> NDArray[np.uint64]:
    """[N, rows], anything but 0 is a one, to words [rows, ceil(N / 64)]; the rest of the last word is zero."""
    n, rows = bits.shape
    octets = np.zeros((rows, -(-n // 64) * 8), np.uint8)
    octets[:, : -(-n // 8)] = np.packbits(bits.T != 0, axis=1, bitorder="little")
    return octets.view(WORD).astype(np.uint64, copy=False)


def unpack_samples(words: NDArray[np.uint64], n: int) -> NDArray[np.bool_]:
    """The first `n` samples of words [rows, W], as bool[n, rows]."""
    octets = np.ascontiguousarray(words, dtype=WORD).view(np.uint8)
    return np.unpackbits(octets, axis=1, count=n, bitorder="little").view(bool).T


def _blocks(netlist: Netlist, inputs: np.ndarray, packed: bool) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """First sample and outputs of block after block of samples, so that memory does not grow with their number."""
    width = -(-netlist.n_inputs // 8) if packed else netlist.n_inputs
    if inputs.ndim != 2 or inputs.shape[1] != width or (packed and inputs.dtype != np.uint8):
        kind = "packed uint8" if packed else "samples"
        raise ValueError(f"inputs must be {kind} [N, {width}], not {inputs.dtype} {list(inputs.shape)}")
    block = 64 * max(1, BLOCK_BYTES // (8 * netlist.n_nodes))
    for start in range(0, len(inputs), block):
        bits = inputs[start : start + block]
        if packed:
            bits = np.unpackbits(bits, axis=1, count=netlist.n_inputs, bitorder="little")
        yield start, unpack_samples(evaluate_words(netlist, pack_samples(bits)), len(bits))
