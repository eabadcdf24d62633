"""Command lines of other programs, carried out, and what `evaluate.sh` says of spikes."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from difflogic_tonic.arguments.classic import Classic
from difflogic_tonic.config import StoragePaths, load_train_config
from difflogic_tonic.errors import CacheMissing, ConfigError
from difflogic_tonic.runs.signals import stop_on

pytestmark = pytest.mark.integration
OVERRIDES = ["train.epochs=1", "train.dataloader.batch_size=3"]


def run(laboratory: Any, classic: Classic, *overrides: str) -> int:
    from difflogic_tonic.train import session
    from difflogic_tonic.train.classic import train_classic

    torch.set_num_threads(1)
    texts = [*OVERRIDES, *overrides]
    config = load_train_config(laboratory.config_path, texts, "job")
    places = StoragePaths(laboratory.scratch, laboratory.project)
    with stop_on("SIGTERM") as stop:
        return train_classic(session.Request(config, "new", ["--classic"], places), classic, texts, stop)


def classic(**asked: Any) -> Classic:
    return Classic("fmnist", "no/such/prepare.yaml", **asked)


def drawn(folder: Path) -> dict[str, int]:
    """Sample → files of its folder."""
    return {path.name: len(list(path.iterdir())) for path in (folder / "visualization").iterdir()}


@pytest.fixture
def spiking(laboratory: Any) -> Any:
    laboratory.write_config("SNN")
    return laboratory


def test_it_says_what_it_is_trains_and_draws_the_encoder(
    spiking: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, pictures = tmp_path / "logs", tmp_path / "pictures"
    out.mkdir()
    (out / "data").symlink_to((spiking.project / "data").resolve())
    asked = classic(out_dir=str(out), save_es=str(pictures), notes=("-cupy: there is no CuPy here",))
    assert run(spiking, asked) == 0
    said = capsys.readouterr().out
    assert f"--classic fmnist is: ./train.sh {spiking.config_path} job --override 'train.epochs=1" in said
    assert "-cupy: there is no CuPy here" in said
    assert (out / "runs" / "job" / "summary.json").is_file()
    assert (out / "models" / "job" / "best.pt").is_file()
    assert not (spiking.project / "runs").exists()
    # a batch of three recordings of 2 to 4 frames: three files a frame, and the input
    assert drawn(pictures).keys() == {"0", "1", "2"}
    assert set(drawn(pictures).values()) <= {7, 10, 13}


def test_pictures_of_a_checkpoint_are_drawn_without_training(spiking: Any, tmp_path: Path) -> None:
    assert run(spiking, classic()) == 0
    net = {name.removeprefix("network."): value for name, value in spiking.weights("best").items()}
    torch.save({"net": net, "optimizer": {}, "epoch": 3}, tmp_path / "checkpoint_max.pth")
    before = spiking.rows()
    assert run(spiking, classic(save_es=str(tmp_path)), f"model.weights={tmp_path}/checkpoint_max.pth") == 0
    assert len(drawn(tmp_path)) == 3
    assert spiking.rows() == before


def test_data_that_are_prepared_are_not_read_from_the_given_folder_and_that_is_said(
    spiking: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(spiking, classic(data_dir="/no/such/recordings")) == 0
    said = [
        line for line in capsys.readouterr().out.splitlines() if "-data-dir /no/such/recordings is not read" in line
    ]
    assert len(said) == 1
    assert "has been prepared with the same parameters" in said[0]


def test_data_that_are_not_prepared_are_prepared_from_the_given_folder(
    spiking: Any, small_recordings: Path, tmp_path: Path
) -> None:
    for place in (spiking.scratch, spiking.project):
        (place / "data").unlink()
    with pytest.raises(CacheMissing):
        run(spiking, classic())
    prepare = tmp_path / "prepare.yaml"
    data = {"name": "NMNIST", "allow_subset": True, "events_per_frame": 150, "val_fraction": 0.2}
    prepare.write_text(yaml.safe_dump({"data": data}))
    assert run(spiking, Classic("fmnist", str(prepare), data_dir=str(small_recordings))) == 0
    assert spiking.rows()


def test_evaluation_counts_spikes_and_draws_the_encoder(
    spiking: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from difflogic_tonic.train.evaluation import evaluate_run

    places = StoragePaths(spiking.scratch, spiking.project)
    assert run(spiking, classic(), "train.measure_spikes=1") == 0
    (measured,) = [line for line in capsys.readouterr().out.splitlines() if "test spikes: " in line]
    assert evaluate_run("job", "best", "cpu", places, spikes=True, save_es=tmp_path / "es") == 0
    said = capsys.readouterr().out
    assert measured.partition("test spikes: ")[2] in said
    assert len(drawn(tmp_path / "es")) == 3
    assert (spiking.rows()[-1]["test_spikes_samples"], spiking.rows()[-1]["val_spikes_samples"]) == (20, 10)


def test_other_networks_have_no_spikes(laboratory: Any) -> None:
    from difflogic_tonic.train.evaluation import evaluate_run

    laboratory.write_config("MLP")
    assert run(laboratory, classic()) == 0
    with pytest.raises(ConfigError, match="--spikes and --save-es are for spiking networks; job job is MLP"):
        evaluate_run("job", "best", "cpu", StoragePaths(laboratory.scratch, laboratory.project), spikes=True)


def test_a_run_goes_on_from_a_checkpoint_and_resumes_without_it(spiking: Any, tmp_path: Path) -> None:
    spiking.write_config("SNN", optimizer="sgd", epochs=1)
    assert spiking.main() == 0
    net = {name.removeprefix("network."): value for name, value in spiking.weights("last").items()}
    moments = {place: {"momentum_buffer": torch.zeros_like(value)} for place, value in enumerate(net.values())}
    optimizer = {"state": moments, "param_groups": [{"params": list(moments)}]}
    path = tmp_path / "checkpoint_latest.pth"
    torch.save({"net": net, "optimizer": optimizer, "lr_scheduler": {}, "epoch": 1, "max_test_acc": 0.5}, path)
    going_on = f"train.continue_from={path}"
    assert spiking.main("--override", f"{going_on} train.epochs=3", job="on") == 0
    rows = [row for row in spiking.rows("on") if row["kind"] == "epoch"]
    assert [row["epoch"] for row in rows] == [3]
    per_epoch = rows[0]["step"] // 3
    assert rows[0]["step"] == 3 * per_epoch
    with pytest.raises(ConfigError, match=r"is at the end of epoch 2, and train\.epochs is 2"):
        spiking.main("--override", f"{going_on} train.epochs=2", job="again")
    assert spiking.main("--override", f"{going_on} train.epochs=3", job="again") == 0, "what was refused left no run"
    path.unlink()
    assert spiking.main("--resume", "--override", f"{going_on} train.epochs=4", job="on") == 0
    assert [row["epoch"] for row in spiking.rows("on") if row["kind"] == "epoch"] == [3, 4]


def test_a_checkpoint_that_is_not_there_is_said_before_anything_is_read(spiking: Any, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"train\.continue_from: .*no\.pth is not a file; expected a checkpoint of Spi"
    ):
        spiking.main("--override", f"train.continue_from={tmp_path}/no.pth")
