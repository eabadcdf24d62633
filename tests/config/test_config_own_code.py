"""Functions of one's own, named module:function."""

from collections.abc import Callable
from pathlib import Path

import pytest

from difflogic_tonic.config import TrainConfig
from difflogic_tonic.config.own_code import is_own_code, load_own_function, source_digest
from difflogic_tonic.errors import ConfigError

KEY = "train.optimizer"


@pytest.fixture
def module(own_module: Callable[[str, str], Path]) -> Path:
    """A module `my_parts` that can be imported."""
    return own_module("my_parts", "def double(x):\n    return 2 * x\n\nnumber = 3\n")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a:f", True), ("a.b_1:f", True), ("adam", False), ("a:", False), (":f", False), ("a:f()", False), ("1:f", False)],
)
def test_its_form(name: str, expected: bool):
    assert is_own_code(name) == expected


def test_the_function_is_found(module: Path):
    assert load_own_function(KEY, "my_parts:double")(4) == 8


@pytest.mark.parametrize("name", ["my_parts:number", "my_parts:missing"])
def test_a_function_that_is_not_there_is_named_with_its_file(name: str, module: Path):
    with pytest.raises(ConfigError, match=rf"{KEY}: {name}: .*my_parts\.py has no function {name[9:]}"):
        load_own_function(KEY, name)


def test_a_function_that_takes_other_arguments_is_an_error_that_says_which_it_is_called_with(module: Path):
    assert load_own_function(KEY, "my_parts:double", "frames")(4) == 8
    with pytest.raises(ConfigError, match=r"my_parts\.py has double\(x\); it is called with \(frames, classes\)$"):
        load_own_function(KEY, "my_parts:double", "frames", "classes")


@pytest.mark.parametrize("name", ["no_such_module:f", "no_such.package:f", "sys:exit", "email.no_such:f"])
def test_a_module_that_is_not_there_is_an_error_that_says_where_to_put_it(name: str):
    with pytest.raises(ConfigError, match=f"{KEY}: {name}: there is no module .* beside main.py, or .* PYTHONPATH"):
        source_digest(KEY, name)


def test_its_digest_changes_with_the_file_and_not_with_the_function(module: Path):
    before = source_digest(KEY, "my_parts:double")
    assert source_digest(KEY, "my_parts:number") == before
    module.write_text("def double(x):\n    return x + x\n")
    assert source_digest(KEY, "my_parts:double") != before


def train(model_type: str = "SNN", **keys: object) -> TrainConfig:
    return TrainConfig.model_validate({"model": {"model_type": model_type}, "train": keys})


def test_an_optimizer_is_one_of_ours_or_one_s_own():
    assert train(optimizer="my_parts:double").train.optimizer == "my_parts:double"
    with pytest.raises(ValueError, match=r"'adma' is not one of adam, adamw, sgd, module:function \(did you mean adam"):
        train(optimizer="adma")
    with pytest.raises(ValueError, match=r"train\.momentum has no effect with optimizer: a:f"):
        train(optimizer="a:f", momentum=0.5)


@pytest.mark.parametrize("keys", [{"continue_from": "c.pth"}, {"measure_spikes": 1}])
def test_keys_of_spiking_networks_are_refused_for_others(keys: dict[str, object]):
    assert train(**keys)
    with pytest.raises(ValueError, match=rf"train\.{next(iter(keys))} is for model\.model_type: SNN"):
        train("MLP", **keys)


def test_a_checkpoint_to_go_on_from_brings_its_weights():
    with pytest.raises(ValueError, match=r"train\.continue_from brings its weights; leave model\.weights out"):
        TrainConfig.model_validate(
            {"model": {"model_type": "SNN", "weights": "w.pt"}, "train": {"continue_from": "c.pth"}}
        )
