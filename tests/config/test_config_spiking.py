from pathlib import Path

import pytest

from difflogic_tonic.config import load_train_config
from difflogic_tonic.config.spiking import SNN, check_snn_sizes, step_shape
from difflogic_tonic.errors import ConfigError

FRAME = (2, 34, 34)


@pytest.fixture
def gestures(tmp_path: Path) -> Path:
    """A config for frames of 2×128×128 and eleven classes."""
    path = tmp_path / "gestures.yaml"
    path.write_text(
        "data:\n  name: DVSGESTURE\n  prepare: configs/prepare_dvsgesture.yaml\n"
        "model:\n  model_type: SNN\n  snn:\n    architecture: plif_dvsgesture\n"
    )
    return path


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("architecture=spiking_resnet20", "unknown network 'spiking_resnet20' (did you mean spiking_resnet"),
        ("stem=small", "model.snn.stem has no effect with architecture: plif_dvsgesture; leave it out, or use"),
        ("connect=AND", "model.snn.connect has no effect with architecture: plif_dvsgesture"),
        ("architecture=spiking_resnet18 connect=IAND", "or use architecture: sew_resnet18 or another SEW"),
        ("architecture=spiking_resnet18 dropout=0.5", "model.snn.dropout has no effect with architecture: spiking_res"),
        ("architecture=csnn dropout=0.5", "model.snn.dropout has no effect with architecture: csnn"),
        ("architecture=MP8-FC11 channels=3", "model.snn.channels has no effect with architecture: MP8-FC11"),
        ("architecture=my:net dropout=0.5", "model.snn.dropout has no effect with architecture: my:net"),
        (
            "architecture=12C5-MP2-FC10",
            "model.snn.architecture '12C5-MP2-FC10': the last token is 'FC10', expected FC11",
        ),
        ("architecture=12C5-MP2-FX10", "token 3, 'FX10': expected nCk"),
        ("encoding=columns", "model.snn.encoding: columns is for images"),
    ],
)
def test_keys_that_do_not_fit_are_refused_when_the_config_is_read(gestures, overrides, message):
    with pytest.raises(ConfigError) as error:
        load_train_config(gestures, [" ".join(f"model.snn.{text}" for text in overrides.split())])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "overrides",
    [
        "channels=16 dropout=0.2",
        "architecture=csnn channels=16",
        "architecture=spiking_resnet34 channels=16 stem=small",
        "architecture=sew_resnet50 connect=IAND",
        "architecture=AP8-FC110-V10 dropout=0.1",
        "encoding=counts",
    ],
)
def test_keys_that_fit_are_accepted(gestures, overrides):
    load_train_config(gestures, [" ".join(f"model.snn.{text}" for text in overrides.split())])


def test_a_frame_that_the_poolings_leave_nothing_of_is_refused_with_the_size_that_works():
    check_snn_sizes(SNN(architecture="plif_dvsgesture"), (2, 34, 32), 11)
    with pytest.raises(ValueError, match=r"plif_dvsgesture: 34×31 pixels arrive, and 5 poolings .* at least 32×32"):
        check_snn_sizes(SNN(architecture="plif_dvsgesture"), (2, 34, 31), 11)


def test_rows_and_columns_are_what_is_seen_at_a_step():
    assert step_shape(SNN(encoding="rows"), (1, 28, 26)) == (1, 1, 26)
    assert step_shape(SNN(encoding="columns"), (1, 28, 26)) == (1, 28, 1)
    assert step_shape(SNN(encoding="delta"), (1, 28, 26)) == (1, 28, 26)
    check_snn_sizes(SNN(architecture="28FC9-FC3", encoding="columns"), (1, 28, 26), 3)


def test_an_image_is_shown_for_four_steps_unless_it_is_read_line_by_line(tmp_path):
    path = tmp_path / "images.yaml"
    path.write_text("data:\n  name: MNIST\nmodel:\n  model_type: SNN\n  snn:\n    architecture: plain_net\n")
    assert load_train_config(path).network.snn.steps == 4
    assert load_train_config(path, ["model.snn.encoding=columns"]).network.snn.steps is None


def test_steps_of_rows_are_those_of_the_image():
    with pytest.raises(ValueError, match=r"model\.snn\.steps has no effect with encoding: rows"):
        SNN(encoding="rows", steps=4)
