"""Files come back as they were, and say so where they cannot."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from difflogic_tonic.errors import NetlistCorrupt, StorageError
from difflogic_tonic.netlist import Netlist, load_netlist, save_netlist
from difflogic_tonic.netlist.saving import _digest

SMALL = Netlist(3, [1, 6], [0, 3], [1, 2], [4], 1)
DOCUMENTED = (
    b'[["format","difflogic_tonic netlist"],["version",1],["n_inputs",3],["classes",1],["tau",1.0],'
    b'["gates","16"],["a",[0,3]],["b",[1,2]],["outputs",[4]]]'
)
"""What the checksum of SMALL is of."""


@given(st.integers(0, 2**32), st.integers(1, 30), st.integers(0, 300), st.integers(1, 4), st.floats(1e-6, 1e6))
@settings(max_examples=30, deadline=None)
def test_what_is_saved_comes_back(random_netlist, tmp_path_factory, seed, n_inputs, n_gates, classes, tau):
    netlist = random_netlist(seed, n_inputs, n_gates, classes)
    netlist = Netlist(n_inputs, netlist.gates, netlist.a, netlist.b, netlist.outputs, classes, tau)
    path = tmp_path_factory.mktemp("netlist") / "n.json"
    save_netlist(netlist, path)
    assert load_netlist(path).equals(netlist)


def test_the_file_is_the_documented_json(tmp_path: Path):
    save_netlist(SMALL, tmp_path / "n.json")
    assert [path.name for path in tmp_path.iterdir()] == ["n.json"]
    values = json.loads((tmp_path / "n.json").read_text())
    assert values.pop("sha256") == hashlib.sha256(DOCUMENTED).hexdigest()
    assert values == {
        "format": "difflogic_tonic netlist",
        "version": 1,
        "n_inputs": 3,
        "classes": 1,
        "tau": 1.0,
        "gates": "16",
        "a": [0, 3],
        "b": [1, 2],
        "outputs": [4],
    }


def test_a_changed_or_cut_byte_is_noticed(tmp_path: Path):
    path = tmp_path / "n.json"
    save_netlist(SMALL, path)
    good = path.read_bytes()
    for place in range(len(good)):
        for bad in (good[:place], good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :]):
            path.write_bytes(bad)
            assert harmless(bad, good) or "\n" not in refusal(path)


def harmless(bad: bytes, good: bytes) -> bool:
    """Whether only white space differs."""
    try:
        return json.loads(bad) == json.loads(good)
    except ValueError:
        return False


def refusal(path: Path) -> str:
    with pytest.raises(NetlistCorrupt, match=path.name) as caught:
        load_netlist(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 4}, "version 4, this program reads 1 to 3"),
        ({"format": "other"}, 'is not a netlist: expected a JSON object with "format"'),
        ({"gates": "1g"}, "gates has characters other than"),
        ({"gates": "1é"}, "gates has characters other than"),
        ({"gates": "1"}, "equally long"),
        ({"a": [0, 4]}, "a of gate 1 is node 4, expected 0 … 3"),
        ({"a": [0, 1.5]}, "a is not a list of node numbers"),
        ({"a": [0, True]}, "a is not a list of node numbers"),
        ({"b": "01"}, "b is not a list of node numbers"),
        ({"outputs": [2**70]}, "more than 64 bits"),
        ({"outputs": []}, "0 outputs"),
        ({"n_inputs": "3"}, "n_inputs is '3', expected int"),
        ({"n_inputs": 10**30}, "expected fewer than"),
        ({"tau": float("inf")}, "tau inf"),
        ({"classes": True}, "classes is True, expected int"),
    ],
)
def test_wrong_content_with_a_right_checksum_is_refused(tmp_path: Path, change, message):
    path = tmp_path / "n.json"
    save_netlist(SMALL, path)
    values = json.loads(path.read_text()) | change
    values["sha256"] = _digest(values)
    path.write_text(json.dumps(values))
    with pytest.raises(NetlistCorrupt, match=message) as caught:
        load_netlist(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "[]", "3", "null", "{", '{"format": "difflogic_tonic netlist", "version": 1}'])
def test_other_files_are_refused(tmp_path: Path, content: str):
    (tmp_path / "n.json").write_text(content)
    with pytest.raises(NetlistCorrupt):
        load_netlist(tmp_path / "n.json")


@pytest.mark.parametrize("content", [b"\xff\xfe{", b"[" * 100_000])
def test_bytes_that_are_no_text_and_endless_nesting_are_refused(tmp_path: Path, content: bytes):
    (tmp_path / "n.json").write_bytes(content)
    with pytest.raises(NetlistCorrupt, match="damaged"):
        load_netlist(tmp_path / "n.json")


def test_a_missing_file_is_one_line(tmp_path: Path):
    with pytest.raises(NetlistCorrupt, match="no netlist at"):
        load_netlist(tmp_path / "absent.json")
    with pytest.raises(NetlistCorrupt, match="no netlist at"):
        load_netlist(tmp_path)


def test_missing_folders_are_made(tmp_path: Path):
    save_netlist(SMALL, tmp_path / "new" / "folder" / "n.json")
    assert load_netlist(tmp_path / "new" / "folder" / "n.json").equals(SMALL)


@pytest.mark.parametrize("place", ["file/n.json", "file/folder/n.json"])
def test_a_file_where_a_folder_is_expected_is_one_line(tmp_path: Path, place: str):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="has a file where a folder is expected"):
        save_netlist(SMALL, tmp_path / place)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_numpy_numbers_are_saved_as_numbers(tmp_path: Path):
    netlist = Netlist(np.int64(3), SMALL.gates, SMALL.a, SMALL.b, SMALL.outputs, np.int32(1), np.float32(2.0))
    save_netlist(netlist, tmp_path / "n.json")
    assert load_netlist(tmp_path / "n.json").tau == 2.0


def test_a_circuit_with_a_state_comes_back_from_a_file_of_version_2(tmp_path: Path):
    netlist = Netlist(3, [1, 6], [0, 3], [1, 2], [4], 1, next_state=[3])
    save_netlist(netlist, tmp_path / "n.json")
    assert json.loads((tmp_path / "n.json").read_text())["version"] == 2
    assert load_netlist(tmp_path / "n.json").equals(netlist)
    assert not netlist.equals(SMALL)
