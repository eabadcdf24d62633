"""Netlists as JSON files that other tools can read and that show when they are damaged.

    {"format": "difflogic_tonic netlist", "version": 1, "n_inputs": 3, "classes": 1, "tau": 1.0,
     "gates": "16", "a": [0, 3], "b": [1, 2], "outputs": [4], "sha256": "…"}

Fields are those of `Netlist`; version 2 has a list "next_state" behind the outputs, and is what a circuit with a state
is saved as. Version 3 has "next_state", which may be empty, and "about" behind it: an object with the `frame_shape` and
`thresholds` of `InputCode` and the `class_names` and `readout` of `Circuit`. `gates` has one hexadecimal digit per
gate. `sha256` is over the JSON of all fields before it, as a list of [name, value] in this order, without spaces.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from difflogic_tonic.errors import NetlistCorrupt
from difflogic_tonic.netlist.circuit import Netlist
from difflogic_tonic.netlist.description import Circuit
from difflogic_tonic.storage import storage_errors, write_text

FORMAT = "difflogic_tonic netlist"
WITHOUT_STATE, WITH_STATE, DESCRIBED = 1, 2, 3
FIELDS = {
    WITHOUT_STATE: ("format", "version", "n_inputs", "classes", "tau", "gates", "a", "b", "outputs"),
    WITH_STATE: ("format", "version", "n_inputs", "classes", "tau", "gates", "a", "b", "outputs", "next_state"),
    DESCRIBED: ("format", "version", "n_inputs", "classes", "tau", "gates", "a", "b", "outputs", "next_state", "about"),
}
"""By version."""

_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)


def save_netlist(netlist: Netlist, path: Path) -> None:
    """Write `path`, whole or not at all, and the folders above it. StorageFull or StorageError where this fails."""
    _save(netlist, path, None)


def save_circuit(circuit: Circuit, path: Path) -> None:
    """As `save_netlist`, with how a frame becomes inputs and what the classes are called."""
    _save(circuit.netlist, path, circuit.plain())


def _save(netlist: Netlist, path: Path, about: dict[str, object] | None) -> None:
    values: dict[str, Any] = {
        "format": FORMAT,
        "version": DESCRIBED if about else WITH_STATE if netlist.n_state else WITHOUT_STATE,
        "n_inputs": int(netlist.n_inputs),
        "classes": int(netlist.classes),
        "tau": float(netlist.tau),
        "gates": _HEX[netlist.gates].tobytes().decode("ascii"),
        "a": netlist.a.tolist(),
        "b": netlist.b.tolist(),
        "outputs": netlist.outputs.tolist(),
    }
    if netlist.n_state or about:
        values["next_state"] = netlist.next_state.tolist()
    if about:
        values["about"] = about
    values["sha256"] = _digest(values)
    lines = (f"{json.dumps(name)}: {json.dumps(value)}" for name, value in values.items())
    with storage_errors(path.parent, path.name):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")


def load_netlist(path: Path) -> Netlist:
    """Read a file of `save_netlist` or `save_circuit`.

    NetlistCorrupt where it is missing, damaged, of another kind or version.
    """
    values = _load(path)
    try:
        return _from_plain(values)
    except ValueError as error:
        raise _damaged(path, str(error)) from None


def load_circuit(path: Path) -> Circuit:
    """Read a file of `save_circuit`. NetlistCorrupt as in `load_netlist`, and for a netlist without description."""
    values = _load(path)
    try:
        return Circuit.from_plain(_from_plain(values), values.get("about"))
    except ValueError as error:
        raise _damaged(path, str(error)) from None


def _load(path: Path) -> dict[str, Any]:
    """The fields of a file whose checksum is right."""
    try:
        with storage_errors(path):
            if path.is_dir():
                raise FileNotFoundError(path)
            content = path.read_bytes()
        values = json.loads(content)
    except FileNotFoundError:
        raise NetlistCorrupt(f"no netlist at {path}; expected a .json file written by an export") from None
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"not JSON: {error}") from None
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise NetlistCorrupt(f'{path} is not a netlist: expected a JSON object with "format": "{FORMAT}"')
    version = values.get("version")
    if type(version) is not int or version not in FIELDS:
        raise NetlistCorrupt(f"{path} has netlist version {repr(version)[:40]}, this program reads 1 to 3")
    missing = [name for name in (*FIELDS[version], "sha256") if name not in values]
    if missing:
        raise _damaged(path, f"{', '.join(missing)} missing")
    if values["sha256"] != _digest(values):
        raise _damaged(path, "its content does not match its sha256")
    return values


def _from_plain(values: dict[str, Any]) -> Netlist:
    """ValueError where a value has the wrong type or the circuit is none."""
    for name, kind in (("n_inputs", int), ("classes", int), ("tau", float), ("gates", str)):
        if type(values[name]) is not kind:
            raise ValueError(f"{name} is {repr(values[name])[:40]}, expected {kind.__name__}")
    columns = {}
    for name in FIELDS[values["version"]][6:10]:
        if not isinstance(values[name], list) or not {type(node) for node in values[name]} <= {int}:
            raise ValueError(f"{name} is not a list of node numbers")
        try:
            columns[name] = np.array(values[name], np.int64)
        except OverflowError:
            raise ValueError(f"{name} has a number of more than 64 bits") from None
    digits = np.frombuffer(values["gates"].encode(), np.uint8)
    gates = np.searchsorted(_HEX, digits)
    if not np.array_equal(_HEX[np.minimum(gates, 15)], digits):
        raise ValueError("gates has characters other than 0-9 and a-f")
    return Netlist(values["n_inputs"], gates, classes=values["classes"], tau=values["tau"], **columns)


def _digest(values: dict[str, Any]) -> str:
    ordered = [[name, values[name]] for name in FIELDS[DESCRIBED] if name in values]
    return hashlib.sha256(json.dumps(ordered, separators=(",", ":")).encode()).hexdigest()


def _damaged(path: Path, reason: str) -> NetlistCorrupt:
    return NetlistCorrupt(f"{path} is damaged ({reason}); export it again")
