import pytest
from hypothesis import given
from hypothesis import strategies as st

from difflogic_tonic.config.overrides import apply_overrides, parse_overrides
from difflogic_tonic.errors import ConfigError


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        (["train.epochs=10 train.learning_rate=0.001"], {"train.epochs": 10, "train.learning_rate": 0.001}),
        (["train.epochs=10", "train.learning_rate=1e-3"], {"train.epochs": 10, "train.learning_rate": 0.001}),
        (["train.epochs=1", "train.epochs=2"], {"train.epochs": 2}),
        (["base.tag=first try train.epochs=2"], {"base.tag": "first try", "train.epochs": 2}),
        (["base.tag='a=b c.d=e' train.epochs=2"], {"base.tag": "a=b c.d=e", "train.epochs": 2}),
        (["base.tag=don't stop"], {"base.tag": "don't stop"}),
        (["train.step_epochs=[10, 15] train.epochs=20"], {"train.step_epochs": [10, 15], "train.epochs": 20}),
        (["train.epochs=-3"], {"train.epochs": -3}),
        (["train.step_gamma=-1e-2"], {"train.step_gamma": -0.01}),
        (["base.tag=null"], {"base.tag": None}),
        (["data.data_root=/a path/with spaces"], {"data.data_root": "/a path/with spaces"}),
        (["  train.epochs=1   train.device=cpu "], {"train.epochs": 1, "train.device": "cpu"}),
        ([""], {}),
    ],
)
def test_assignments_are_told_apart(texts: list[str], values: dict[str, object]) -> None:
    assert parse_overrides(texts) == values


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs=3", "expected section.key=value"),
        ("data.data_root=", "--override data.data_root=: expected a value; write data.data_root=null for none"),
        ("train.epochs", "expected section.key=value"),
        ("train.epochs = 3", "expected section.key=value"),
        ("base.tag='open", "' is missing at the end"),
        ("train.step_epochs=[1, 2", "] is missing at the end"),
        ("base.tag=a: b: c", "not a YAML value"),
    ],
)
def test_text_that_is_no_assignment_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_overrides([text])
    assert message in str(error.value)


@given(st.dictionaries(st.from_regex(r"\A[a-z]{1,5}\.[a-z_]{1,5}\Z"), st.integers() | st.lists(st.integers())))
def test_any_numbers_and_lists_come_back(values: dict[str, object]) -> None:
    assert parse_overrides([" ".join(f"{key}={value}" for key, value in values.items())]) == values


def test_overrides_change_a_copy_and_make_missing_sections() -> None:
    content = {"train": {"epochs": 1}}
    merged = apply_overrides(content, {"train.epochs": 2, "model.cnn.hidden": 3})
    assert merged == {"train": {"epochs": 2}, "model": {"cnn": {"hidden": 3}}}
    assert content == {"train": {"epochs": 1}}


def test_a_value_cannot_be_used_as_a_section() -> None:
    with pytest.raises(ConfigError, match=r"train\.epochs is a value, not a section"):
        apply_overrides({"train": {"epochs": 1}}, {"train.epochs.more": 2})
