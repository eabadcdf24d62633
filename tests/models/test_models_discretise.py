"""A netlist of a model computes what the model computes in hard mode."""

import numpy as np
import pytest
import torch
from torch import nn

from difflogic_tonic.errors import ConfigError
from difflogic_tonic.models.discretise import netlist_report, to_netlist
from difflogic_tonic.netlist import class_scores, simplify
from difflogic_tonic.nets.logic import LogicNetwork, hard_mode, logic_report


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
