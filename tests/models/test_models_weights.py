import os
import pickle
from argparse import Namespace

import pytest
import torch
from torch import nn

from difflogic_tonic.config.networks import Model
from difflogic_tonic.errors import CheckpointCorrupt, ConfigError
from difflogic_tonic.models import build, load_weights
from difflogic_tonic.nets.logic import ConvLogicNetwork, LogicNetwork


def net(width: int = 3) -> nn.Module:
    return nn.Sequential(nn.Linear(2, width), nn.Linear(width, 1))


def of_spikingjellys_examples(state: dict) -> dict:
    return {"net": state, "optimizer": {"state": {}}, "lr_scheduler": {"T_max": 64}, "epoch": 3, "max_test_acc": 0.9}


def of_spikingjellys_trainer(state: dict) -> dict:
    return {"model": state, "epoch": 3, "args": Namespace(T=4, lr=0.1), "max_test_acc1": 90.0}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"model": state, "epoch": 3},
        of_spikingjellys_examples,
        of_spikingjellys_trainer,
    ],
)
def test_a_state_dict_is_found_by_itself_and_in_a_checkpoint(tmp_path, wrap):
    source, target = net(), net()
    torch.save(wrap(source.state_dict()), tmp_path / "w.pt")
    load_weights(target, tmp_path / "w.pt")
    assert all(torch.equal(a, b) for a, b in zip(source.parameters(), target.parameters(), strict=True))


def test_keys_that_do_not_fit_are_named_and_nothing_is_loaded(tmp_path):
    target = net()
    state = net(4).state_dict()
    state["extra"] = state.pop("1.bias")
    torch.save(state, tmp_path / "w.pt")
    before = [p.clone() for p in target.parameters()]
    with pytest.raises(ConfigError) as caught:
        load_weights(target, tmp_path / "w.pt")
    message = str(caught.value)
    for part in ("missing: 1.bias", "unknown: extra", "0.weight 4×2, expected 3×2", "w.pt"):
        assert part in message
    assert all(torch.equal(a, b) for a, b in zip(before, target.parameters(), strict=True))


@pytest.mark.parametrize("wiring", ["unique", "learnable"])
def test_the_wiring_of_a_network_with_more_inputs_is_refused(tmp_path, wiring):
    torch.save(LogicNetwork(30, 20, 2, 2, wiring=wiring).state_dict(), tmp_path / "w.pt")
    with pytest.raises(ConfigError, match=r"w\.pt does not fit .*: wiring reads features 0 to 29 .* there are 0 to 24"):
        load_weights(LogicNetwork(25, 20, 2, 2, wiring=wiring), tmp_path / "w.pt")


def test_the_taps_of_trees_with_a_larger_window_are_refused(tmp_path):
    def trees() -> ConvLogicNetwork:
        return ConvLogicNetwork((1, 6, 7), 2, channels=[4], kernel_size=3, num_neurons=24, num_layers=1)

    weights = trees().state_dict()
    weights["trees.0.taps"][0, 0] = torch.tensor([0, 3, 2])  # of a window of four rows
    torch.save(weights, tmp_path / "w.pt")
    with pytest.raises(ConfigError, match=r"w\.pt does not fit .*: taps read .* \[0, 2, 2\]"):
        load_weights(trees(), tmp_path / "w.pt")


def test_many_wrong_keys_are_summed_up(tmp_path):
    torch.save({f"k{i}": torch.zeros(1) for i in range(9)}, tmp_path / "w.pt")
    with pytest.raises(ConfigError, match="unknown: k0, k1, k2, k3, k4 and 4 more"):
        load_weights(net(), tmp_path / "w.pt")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.pt is not a file"):
        load_weights(net(), tmp_path / "none.pt")


class Surprise:
    def __reduce__(self):
        return os.system, ("touch surprise",)


@pytest.mark.parametrize(
    "content",
    [b"", b"not a file of weights", pickle.dumps(Surprise()), "truncated", "list", "numbers"],
    ids=["empty", "text", "code", "truncated", "list", "numbers"],
)
def test_a_file_that_holds_no_weights_is_refused_in_one_line_and_no_code_is_run(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "w.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save({"truncated": net().state_dict(), "list": [1, 2], "numbers": {"epoch": 3}}[content], path)
    if content == "truncated":
        path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CheckpointCorrupt) as caught:
        load_weights(net(), path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "surprise").exists()


def test_garbage_is_a_user_error_whatever_it_begins_with(tmp_path):
    for first in range(256):
        (tmp_path / "w.pt").write_bytes(bytes([first]) + b"garbage \x80\x02K\x01.")
        with pytest.raises(CheckpointCorrupt):
            load_weights(net(), tmp_path / "w.pt")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="is not a file; expected weights"):
        load_weights(net(), tmp_path)


class Spiking(nn.Module):
    """As a spiking model is made: the network is a part of it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network


def test_a_bare_network_is_found_in_the_model_around_it(tmp_path):
    source, target = net(), Spiking(net())
    torch.save({"net": source.state_dict()}, tmp_path / "w.pth")
    load_weights(target, tmp_path / "w.pth")
    assert torch.equal(source[0].weight, target.network[0].weight)


def test_a_bare_network_of_another_size_is_told_by_its_keys_in_the_model(tmp_path):
    torch.save({"net": net(4).state_dict()}, tmp_path / "w.pth")
    with pytest.raises(ConfigError, match=r"another shape: network\.0\.weight 4×2, expected 3×2"):
        load_weights(Spiking(net()), tmp_path / "w.pth")


def test_a_checkpoint_with_objects_of_other_classes_is_refused_in_one_line(tmp_path):
    torch.save({"net": net().state_dict(), "args": net()}, tmp_path / "w.pth")
    with pytest.raises(CheckpointCorrupt) as caught:
        load_weights(net(), tmp_path / "w.pth")
    assert "w.pth is not a file of weights" in str(caught.value)
    assert "weights_only" not in str(caught.value), "torch's advice, which is to run what is in the file"
    assert "\n" not in str(caught.value)


def test_weights_of_an_ordinary_resnet_start_a_spiking_one(tmp_path, caplog):
    config = Model(model_type="SNN", snn={"architecture": "spiking_resnet18", "channels": 4, "stem": "imagenet"})
    theirs = build(config, (3, 64, 64), 9, 0).network.state_dict()
    torch.save(theirs, tmp_path / "resnet18-f37072fd.pth")
    model = build(config, (2, 64, 64), 5, 1)
    with caplog.at_level("INFO"):
        load_weights(model, tmp_path / "resnet18-f37072fd.pth")
    assert torch.equal(model.network.layer1[0].conv1.weight, theirs["layer1.0.conv1.weight"])
    assert [record.message.rpartition("pth: ")[2] for record in caplog.records] == [
        "its first convolution is for 3 channels; its mean is used for each of 2",
        "its last layer is for 9 classes; that for 5 keeps its start",
    ]


def test_weights_of_another_stem_are_refused_with_the_file_and_the_key(tmp_path):
    snn = {"architecture": "sew_resnet18", "channels": 4}
    torch.save(build(Model(model_type="SNN", snn=snn), (3, 64, 64), 5, 0).network.state_dict(), tmp_path / "w.pth")
    with pytest.raises(ConfigError, match=r"w\.pth does not fit the .*; use model\.snn\.stem: imagenet"):
        load_weights(build(Model(model_type="SNN", snn=snn), (3, 32, 32), 5, 0), tmp_path / "w.pth")
