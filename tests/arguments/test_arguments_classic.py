"""Command lines of other programs, as configs and overrides."""

import re
from pathlib import Path

import pytest

from difflogic_tonic.arguments import parse, train_parser
from difflogic_tonic.arguments.classic import PROGRAMS
from difflogic_tonic.config import load_train_config
from difflogic_tonic.config.overrides import parse_overrides
from difflogic_tonic.errors import ConfigError


def read(line: str):
    return parse(train_parser(), line.split())


def overrides(line: str) -> dict[str, object]:
    return parse_overrides(read(line).override)


WHOLE = (
    "--classic fmnist -T 8 -device cpu -b 256 -epochs 3 -j 2 -data-dir D -out-dir O -amp -cupy -opt sgd -momentum 0.0 "
    "-lr 0.1 -channels 32 -save-es ES -resume logs/checkpoint_max.pth"
)


def test_every_option_of_the_fashion_mnist_example_becomes_its_key():
    assert overrides(WHOLE.replace("-save-es ES ", "")) == {
        "model.snn.steps": 8,
        "train.device": "cpu",
        "train.dataloader.batch_size": 256,
        "train.epochs": 3,
        "train.dataloader.num_workers": 2,
        "train.amp": "auto",
        "model.snn.backend": "auto",
        "train.optimizer": "sgd",
        "train.momentum": 0.0,
        "train.learning_rate": 0.1,
        "model.snn.channels": 32,
        "train.continue_from": "logs/checkpoint_max.pth",
    }


def test_what_is_no_key_is_kept_beside_the_config():
    found = read(WHOLE)
    assert (found.config, found.classic.prepare) == (
        "configs/fashionmnist_snn.yaml",
        "configs/prepare_fashionmnist.yaml",
    )
    assert (found.classic.data_dir, found.classic.out_dir, found.classic.save_es) == ("D", "O", "ES")
    assert "no CuPy" in found.classic.notes[0]
    # as in that program: with pictures asked for, the checkpoint is only looked at
    assert parse_overrides(found.override)["model.weights"] == "logs/checkpoint_max.pth"


def test_the_run_has_the_name_that_the_program_gives_its_folder():
    assert read(WHOLE).job_id == "T8_b256_sgd_lr0.1_c32_amp_cupy"
    assert read("--classic fmnist").job_id == "T4_b128_sgd_lr0.1_c128"
    assert read("--classic fmnist --job-id mine").job_id == "mine"
    assert read("--classic seqfmnist -model fb -opt adam -lr 0.001 -cupy").job_id == "feedback_b256_adam_lr0.001_cupy"
    assert read("--classic resnet --dataset dvsgesture --neuron lif --T 32 --tag first").job_id == (
        "dvsgesture_spiking_resnet18_lif_T32_first"
    )


@pytest.mark.parametrize(
    ("options", "optimizer", "rate", "name"),
    [
        ("", "adam", 1e-3, "adam_lr0.001"),
        ("-lr 0.01", "adam", 0.01, "adam_lr0.01"),
        ("-opt sgd", "sgd", 0.1, "sgd_lr0.1"),
        ("-opt adam -lr 0.002", "adam", 0.002, "adam_lr0.002"),
    ],
)
def test_the_name_of_a_gesture_run_says_what_it_trains_with(options: str, optimizer: str, rate: float, name: str):
    found = read(f"--classic dvsgesture {options}")
    train = load_train_config(found.config, found.override).train
    assert (train.optimizer, train.learning_rate) == (optimizer, rate)
    assert found.job_id == f"dvsgesture_T16_b16_{name}_c128"


def test_options_that_are_not_given_leave_the_config_as_it_is():
    assert overrides("--classic fmnist -amp") == {"train.amp": "auto"}


def test_without_amp_it_is_fp32_as_in_that_program():
    assert overrides("--classic fmnist") == {"train.amp": "off"}


def test_cupy_asks_for_fused_neurons_of_the_device_that_is_asked_for():
    found = read("--classic fmnist -T 4 -device cuda:0 -b 128 -epochs 64 -amp -cupy -opt sgd -lr 0.1 -j 8")
    snn = load_train_config(found.config, found.override).model.snn
    assert snn.backend == "auto", "the kernels of backend fused are those of a CPU, and a GPU refuses them"
    assert "fused" in found.classic.notes[0]


def test_a_checkpoint_of_our_own_resumes_its_job():
    found = read("--classic fmnist -amp -resume out/checkpoints/T4_b8/step-000000001-000000.ab.pt")
    assert (found.resume, found.job_id, found.override) == ("always", "T4_b8", ["train.amp=auto"])


def test_a_stopped_run_goes_on_by_the_option_that_its_last_line_names():
    found = read("--classic fmnist -b 8 --resume")
    assert (found.resume, found.job_id) == ("always", "T4_b8_sgd_lr0.1_c128")
    assert read("--classic fmnist").resume is None


def test_the_name_may_stand_behind_an_equals_sign():
    assert read("--classic=fmnist -b 8").job_id == "T4_b8_sgd_lr0.1_c128"


def test_a_model_of_our_own_stands_for_its_job_unless_it_is_to_be_drawn():
    found = read("--classic fmnist -resume models/T4_b8/last.pt")
    assert (found.resume, found.job_id) == ("always", "T4_b8")
    found = read("--classic fmnist -resume models/T4_b8/best.pt -save-es pictures")
    assert found.resume is None
    assert "model.weights=models/T4_b8/best.pt" in found.override


def test_overrides_and_paths_with_spaces_go_along():
    found = parse(
        train_parser(), ["--classic", "fmnist", "-amp", "-resume", "my runs/it's.pth", "--override", "base.seed=7"]
    )
    assert parse_overrides(found.override) == {
        "train.amp": "auto",
        "train.continue_from": "my runs/it's.pth",
        "base.seed": 7,
    }


@pytest.mark.parametrize(
    ("line", "config", "found"),
    [
        ("--classic mnist", "configs/mnist_snn.yaml", {}),
        ("--classic mnist exp_id=spike data.spike=True", "configs/nmnist_snn_csnn.yaml", {}),
        (
            "--classic mnist data.subset=10 train.num_epochs=3",
            "configs/mnist_snn.yaml",
            {"data.subset": 0.1, "train.epochs": 3},
        ),
        ("--classic mnist data.subset=1", "configs/mnist_snn.yaml", {}),
        (
            "--classic resnet --dataset cifar10 --T 6 --amp --save-model",
            "configs/cifar10_snn_resnet18.yaml",
            {"model.snn.steps": 6, "train.amp": "auto"},
        ),
        ("--classic resnet --dataset cifar10_dvs --T 32", "configs/cifar10dvs_snn_resnet18.yaml", {"train.amp": "off"}),
        (
            "--classic seqfmnist -model ss -b 64",
            "configs/fashionmnist_snn_rows_synapse.yaml",
            {"train.dataloader.batch_size": 64, "train.amp": "off"},
        ),
        (
            "--classic dvsgesture -T 20 -tau 3 -amp",
            "configs/dvsgesture_snn_plif.yaml",
            {
                "data.prepare": "configs/prepare_dvsgesture_t20.yaml",
                "model.snn.neuron": "lif",
                "model.snn.tau": 3.0,
                "train.amp": "auto",
            },
        ),
    ],
)
def test_other_programs(line: str, config: str, found: dict[str, object]):
    assert read(line).config == config
    assert overrides(line) == found


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--classic fminst", "--classic fminst: expected one of fmnist, seqfmnist, dvsgesture, mnist, resnet"),
        ("--classic", r"--classic: .*expected one argument"),
        ("--classic fmnist -chanels 8", r"unknown -chanels \(did you mean -channels\?\); it knows -T, .* --override"),
        ("--classic fmnist -b many", r"--classic fmnist: argument -b: invalid int value: 'many'"),
        ("--classic fmnist -opt rmsprop", r"argument -opt: invalid choice: 'rmsprop' \(choose from 'sgd', 'adam'\)"),
        ("--classic mnist data.spik=true", r"unknown data.spik=true \(did you mean data.spike\?\)"),
        ("--classic mnist data.spike=perhaps", "expected one of true, false"),
        ("--classic mnist data.subset=0", "data.subset: '0': expected a whole number from 1"),
        ("--classic mnist data.subset=-2", "data.subset: '-2': expected a whole number from 1"),
        ("--classic fmnist --resume --fresh", "argument --fresh: not allowed with argument --resume"),
        ("--classic mnist train.num_epochs=few", "expected a whole number, found 'few'"),
        ("--classic dvsgesture -T 17", r"argument -T: invalid choice: 17 \(choose from 16, 20\)"),
        ("--classic resnet --dataset cifar10_dvs --T 8", r"--T 8: .* copy configs/prepare_cifar10dvs_t32.yaml"),
    ],
)
def test_what_is_not_known_is_said_in_one_line(line: str, message: str):
    with pytest.raises(ConfigError, match=message) as caught:
        read(line)
    assert "\n" not in str(caught.value)


def test_its_help_lists_the_keys(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        read("--classic fmnist --help")
    assert ended.value.code == 0
    assert "(model.snn.channels)" in capsys.readouterr().out


def test_the_page_on_spiking_networks_has_every_option_with_its_keys(repository: Path):
    page = (repository / "docs" / "snn.md").read_text()
    rows = {row.split("`")[1]: row for row in page.splitlines() if row.startswith("| `-")}
    for program in PROGRAMS.values():
        for option in program.options:
            if option.flag.startswith("-") and not option.flag.startswith("--"):
                assert option.flag in rows or f"`{option.flag} " in page, option.flag
                assert all(key in rows[option.flag] for key in option.keys), option.flag
            else:
                assert option.flag in page


def test_the_configs_that_the_page_names_are_there(repository: Path):
    named = re.findall(r"configs/\w+\.yaml", (repository / "docs" / "snn.md").read_text())
    assert named
    assert [name for name in named if not (repository / name).is_file()] == []


def test_the_configs_of_every_program_are_there(repository: Path):
    lines = ["fmnist", "seqfmnist -model ss", "dvsgesture -T 20", "mnist", "mnist data.spike=true"]
    lines += [
        f"resnet --dataset {name}" for name in ("cifar10", "cifar100", "tinyimagenet", "cifar10_dvs", "dvsgesture")
    ]
    for line in lines:
        found = read(f"--classic {line}")
        assert (repository / found.config).is_file(), line
        assert (repository / found.classic.prepare).is_file(), line
        config = load_train_config(repository / found.config, found.override, found.job_id)
        assert config.data.prepare is not None
        assert config.data.prepare.name == Path(found.classic.prepare).name
