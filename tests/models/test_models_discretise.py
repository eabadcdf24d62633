"""A netlist of a model computes what the model computes in hard mode."""

import numpy as np
import pytest
import torch
from torch import nn

from difflogic_tonic.errors import ConfigError
from difflogic_tonic.models.cost import describe
from difflogic_tonic.models.discretise import netlist_report, to_netlist
from difflogic_tonic.netlist import class_scores, count, simplify
from difflogic_tonic.nets.logic import ConvLogicNetwork, LogicNetwork, hard_mode, logic_report


@pytest.mark.parametrize("parametrization", ["raw", "light"])
@pytest.mark.parametrize("widths", [[30], [40, 25, 60], [300] * 4])
def test_scores_are_the_hard_logits_before_and_after_simplification(widths, parametrization):
    model = LogicNetwork(50, widths, len(widths), 5, tau=3.0, seed=7, parametrization=parametrization)
    inputs = torch.randint(0, 2, (130, 50), generator=torch.Generator().manual_seed(1))
    with torch.no_grad(), hard_mode(model):
        logits = model(inputs.float()).numpy()
    netlist = to_netlist(nn.Sequential(model))
    assert netlist.tau == 3.0
    for circuit in (netlist, simplify(netlist)):
        scores = class_scores(circuit, inputs.numpy())
        assert np.array_equal(np.rint(logits * 3.0).astype(np.int32), scores)
        assert np.array_equal((scores / np.float32(3.0)).argmax(1), logits.argmax(1))


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("tree_depth", [1, 2, 3, 4])
def test_trees_at_every_position_score_as_in_hard_mode(tree_depth, padding):
    shape = (2, 9, 12)
    model = ConvLogicNetwork(
        shape,
        5,
        channels=(6, 8) if padding else (6,),
        tree_depth=tree_depth,
        padding=padding,
        num_neurons=60,
        num_layers=2,
        tau=3.0,
        init="random",
    )
    inputs = torch.randint(0, 2, (130, *shape), generator=torch.Generator().manual_seed(1))
    with torch.no_grad(), hard_mode(model):
        logits = model(inputs).numpy()
    netlist = to_netlist(nn.Sequential(model))
    assert count(netlist).gates + count(netlist).wires + count(netlist).inverters + count(netlist).constants == (
        describe(model, shape)["gates"] + 1  # the constant around the frame
    )
    for circuit in (netlist, simplify(netlist)):
        scores = class_scores(circuit, inputs.flatten(1).numpy())
        assert np.array_equal(np.rint(logits * 3.0).astype(np.int32), scores)


def test_report_before_agrees_with_the_gates_of_the_layers():
    model = LogicNetwork(50, 60, 3, 5, seed=2)
    before = netlist_report(model)["before"]
    histogram = logic_report(model)["histogram"]
    assert before["by_type"] == {name: histogram[name] for name in before["by_type"]}
    assert before["constants"] == histogram["FALSE"] + histogram["TRUE"]
    after = netlist_report(model)["after"]
    assert after["gates"] < before["gates"]
    assert after["dead"] == 0


def test_a_model_without_logic_is_refused():
    with pytest.raises(ConfigError, match="Linear holds 0 logic networks"):
        to_netlist(nn.Linear(2, 2))
