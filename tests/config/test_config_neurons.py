"""Keys of spiking neurons: what has no effect is refused, and what has one arrives in the network."""

import pytest

from difflogic_tonic.config.networks import Model
from difflogic_tonic.config.spiking import SNN
from difflogic_tonic.models import build
from difflogic_tonic.nets.spiking.neurons import Neuron


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"neuron": "if", "tau": 3.0, "readout": "rate"}, r"model\.snn\.tau has no effect with neuron: if"),
        ({"neuron": "if", "decay_input": False}, r"model\.snn\.decay_input has no effect with neuron: if"),
        ({"neuron": "plif", "tau": 1.0}, r"model\.snn\.tau of neuron: plif must be above 1"),
    ],
)
def test_what_has_no_effect_is_refused(keys: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        SNN.model_validate(keys)


def test_the_membrane_that_is_read_out_leaks_whatever_the_neurons_do():
    assert SNN.model_validate({"neuron": "if", "tau": 3.0}).tau == 3.0


def test_every_key_arrives_in_the_neurons():
    keys = {
        "architecture": "4C3-FC2",
        "neuron": "plif",
        "tau": 3.0,
        "decay_input": False,
        "threshold": 0.5,
        "reset": "soft",
        "detach_reset": False,
        "surrogate": "sigmoid",
        "surrogate_alpha": 7.0,
        "backend": "reference",
    }
    model = build(Model.model_validate({"model_type": "SNN", "snn": keys}), (2, 5, 6), 2, seed=1)
    (neuron,) = [module for module in model.modules() if isinstance(module, Neuron)]
    rule = neuron.rule
    assert (rule.kind, rule.tau, rule.decay_input, rule.threshold) == ("plif", 3.0, False, 0.5)
    assert (rule.reset, rule.detach_reset, rule.surrogate, rule.alpha) == ("soft", False, "sigmoid", 7.0)
    assert neuron.backend == "reference"
    assert "network.1.w" in model.state_dict()
