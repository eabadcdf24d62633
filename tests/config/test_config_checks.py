from pathlib import Path

import pytest

from difflogic_tonic.config import load_prepare_config, load_train_config
from difflogic_tonic.config.environment import environment_storage, slurm_restart_count
from difflogic_tonic.errors import ConfigError

TRAIN = """
base: {seed: 42, job_id: "my_experiment"}
data: {name: NMNIST}
train:
  epochs: 3
  learning_rate: 1e-2
  device: cuda
  checkpoint_interval_minutes: 10.0
  dataloader: {batch_size: 64, num_workers: 6}
model:
  model_type: DiffLogic
  difflogic: {num_neurons: 4000, num_layers: 4}
"""
PREPARE = """
data:
  name: NMNIST
  data_root: /some/where
  events_per_frame: 1500
  overlap: 1000
  denoise_time: 1200
  reset_cache: false
  val_fraction: 0.1
  allow_subset: false
"""


@pytest.fixture
def train_yaml(tmp_path: Path) -> Path:
    path = tmp_path / "train.yaml"
    path.write_text(TRAIN)
    return path


@pytest.fixture
def prepare_yaml(tmp_path: Path) -> Path:
    path = tmp_path / "prepare.yaml"
    path.write_text(PREPARE)
    return path


def test_the_keys_that_users_have_work_verbatim(train_yaml: Path, prepare_yaml: Path) -> None:
    train = load_train_config(train_yaml)
    assert train.train.learning_rate == 0.01
    assert train.train.dataloader.num_workers == 6
    assert train.model.difflogic.num_neurons == 4000
    prepare = load_prepare_config(prepare_yaml)
    assert prepare.data.data_root == Path("/some/where")
    assert (prepare.data.events_per_frame, prepare.data.overlap, prepare.data.denoise_time) == (1500, 1000, 1200)


def test_the_job_id_of_the_command_line_wins(train_yaml: Path) -> None:
    assert load_train_config(train_yaml).base.job_id == "my_experiment"
    assert load_train_config(train_yaml, job_id="job_001").base.job_id == "job_001"


@pytest.mark.parametrize("job_id", ["a/b", "..", ".", "", "a b", "ü", "x" * 129, "a\n"])
def test_a_job_id_is_one_path_component(train_yaml: Path, job_id: str) -> None:
    with pytest.raises(ConfigError, match="job id"):
        load_train_config(train_yaml, job_id=job_id)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epoch=3", "--override: unknown key train.epoch (did you mean train.epochs?)"),
        ("train.batch_size=3", "unknown key train.batch_size (did you mean train.dataloader.batch_size?)"),
        (
            "model.difflogic.neurons=3",
            "unknown key model.difflogic.neurons (did you mean model.difflogic.num_neurons?)",
        ),
        ("train.epochs=0", "train.epochs: expected greater than or equal to 1, found 0"),
        ("train.epochs=1.5", "train.epochs: expected a valid integer, found 1.5"),
        ("train.epochs=true", "train.epochs: expected a valid integer, found True"),
        ("train.epochs=ten", "train.epochs: expected a valid integer, found 'ten'"),
        ("train.learning_rate=nought", "train.learning_rate: expected a valid number, found 'nought'"),
        ("train.learning_rate=.nan", "train.learning_rate: expected"),
        ("train.device=gpu", "'gpu' is not one of auto, cpu, cuda"),
        ("train.amp=of", "'of' is not one of auto, off, bf16, fp16 (did you mean off?)"),
        ("base.tag=7", "base.tag: expected text, found the number 7; put it in quotes"),
        ("data.name=NMINST", "unknown dataset 'NMINST' (did you mean NMNIST?)"),
        ("data.variant=xyz", "not the start of a fingerprint"),
        ("data.variant=abcd data.prepare=x.yaml", "both name a cached variant"),
        ("data.subset=2.0", "data.subset: expected less than or equal to 1, found 2.0"),
        (
            "model.model_type=difflogic",
            "'difflogic' is not one of DiffLogic, CNN, MLP, SNN, module:function (did you mean Diff",
        ),
        ("model.mlp=3", "model.mlp: expected a section with keys, found 3"),
        ("train.schedule=step", "train.schedule: step needs train.step_epochs"),
        ("train.step_epochs=[15, 10]", "must be ascending"),
        ("train.step_epochs=[10, 15]", "train.step_epochs has no effect with schedule: none"),
        ("train.step_gamma=0.5", "leave it out, or use schedule: step"),
        ("train.momentum=0.5", "train.momentum has no effect with optimizer: adam"),
        (
            "train.target_rates=[0.9, 0.1]",
            "train.target_rates has no effect with loss: auto; leave it out, or use loss:",
        ),
        ("train.tet_weight=0.5", "train.tet_weight has no effect with loss: auto"),
        ("train.loss=spike_count train.target_rates=[0.1, 0.1]", "the first, of the right class, must be larger"),
        ("train.loss=spike_count train.label_smoothing=0.1", "train.target_rates are its targets"),
        ("train.warmup_epochs=3", "train.warmup_epochs 3 must be below train.epochs 3"),
        ("train.loss=mse", "train.loss: mse is for model.model_type: SNN; use cross_entropy"),
        ("train.recompute=true", "train.recompute is for model.model_type: SNN"),
        ("train.recompute_steps=2", "has no effect with recompute: false; leave it out, or use recompute: true"),
        ("model.model_type=SNN train.loss=spike_count", "needs model.snn.readout: rate, not membrane"),
        ("model.model_type=SNN train.loss=tet model.snn.readout=rate", "use readout: current or membrane"),
        ("model.model_type=SNN model.snn.steps=4", "model.snn.steps is for images"),
        ("model.model_type=SNN model.snn.encoding=rate", "events come in time already: use direct, delta or counts"),
        ("model.snn.delta_level=0.2", "model.snn.delta_level has no effect with encoding: direct"),
        ("data.view=stacked", "needs data.max_frames"),
        ("data.variant=abcd data.prepare=x.yaml", "--override: data.prepare and data.variant both"),
        ("model.difflogic.num_neurons=4001", "--override: model.difflogic.num_neurons 4001 cannot be divided"),
        ("model.mlp.hidden=[a]", "--override model.mlp.hidden: expected a valid integer, found 'a'"),
        ("trian.epochs=3", "--override: unknown key trian"),
        ("base.tag=[1]", "base.tag: expected text, found [1]"),
        ("model.snn.detach_reset=yes", "model.snn.detach_reset: expected true or false, found 'yes'"),
        ("data.view=sequence", "does not fit model.model_type: DiffLogic"),
        ("data.augment.rotation=3", "unknown key data.augment.rotation (did you mean data.augment.rotate?)"),
        ("data.augment.shift=-1", "data.augment.shift: expected greater than or equal to 0, found -1"),
        ("data.augment.mixup=0.6 data.augment.cutmix=0.5", "expected a sum of at most 1"),
        ("data.augment.time_jitter=1", "use 0, or data.view: sequence or stacked"),
        ("data.batching=bucketed", "data.batching: bucketed needs data.view: sequence, not frames; use shuffled"),
        ("model.model_type=SNN data.view=frames", "does not fit model.model_type: SNN; use sequence"),
    ],
)
def test_a_wrong_value_is_refused_in_one_line_with_what_was_expected(
    train_yaml: Path, override: str, message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        load_train_config(train_yaml, [override])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_wrong_key_in_the_file_is_reported_with_the_file(train_yaml: Path) -> None:
    train_yaml.write_text(TRAIN.replace("epochs", "epoch"))
    with pytest.raises(ConfigError) as error:
        load_train_config(train_yaml)
    assert str(error.value) == f"{train_yaml}: unknown key train.epoch (did you mean train.epochs?)"


@pytest.mark.parametrize(
    ("neurons", "layers", "message"),
    [
        (1000, 4, "has 2000 wires for 2312 inputs, so some would not be connected; use at least 1160"),
        (4001, 4, "cannot be divided among 10 classes; use 4000 or 4010"),
        (1157, 4, "cannot be divided among 10 classes; use 1160"),
    ],
)
def test_a_logic_network_that_cannot_work_is_refused_with_numbers_that_do(
    train_yaml: Path, neurons: int, layers: int, message: str
) -> None:
    sizes = f"model.difflogic.num_neurons={neurons} model.difflogic.num_layers={layers}"
    with pytest.raises(ConfigError) as error:
        load_train_config(train_yaml, [sizes])
    assert message in str(error.value)
    works = message.split()[-1]
    load_train_config(train_yaml, [f"model.difflogic.num_neurons={works}"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.overlap=1500", "data.overlap 1500 must be below data.events_per_frame 1500"),
        ("data.overlap=1.5", "data.overlap: expected less than 1, found 1.5"),
        ("data.overlap=-1", "data.overlap: expected greater than or equal to 0, found -1"),
        ("data.val_fraction=1.0", "data.val_fraction: expected less than or equal to 0.9"),
        ("data.denoise_time=1.5", "data.denoise_time: expected a valid integer"),
        ("data.root=/x", "unknown key data.root (did you mean data.data_root?)"),
    ],
)
def test_a_wrong_prepare_value_is_refused(prepare_yaml: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_prepare_config(prepare_yaml, [override])
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.events_per_frame=1500", "data.events_per_frame is for events, and MNIST has images; remove it"),
        ("data.overlap=0", "data.overlap is for events, and MNIST has images; remove it"),
        ("data.denoise_time=0", "data.denoise_time is for events, and MNIST has images; remove it"),
        ("data.on_empty=error", "data.on_empty is for events, and MNIST has images; remove it"),
        ("data.frames=bits", "data.frames: bits is for events; the images of MNIST are kept as they are, u8: remove"),
    ],
)
def test_a_key_of_events_is_refused_for_images_even_with_its_default(
    repository: Path, override: str, message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        load_prepare_config(repository / "configs/prepare_mnist.yaml", [override])
    assert str(error.value).startswith(f"--override: {message}")


def test_keys_that_images_share_with_events_are_accepted(repository: Path) -> None:
    given = ["data.frames=u8", "data.val_fraction=0", "data.workers=1", "data.shard_recordings=9", "base.seed=1"]
    assert load_prepare_config(repository / "configs/prepare_mnist.yaml", given).data.val_fraction == 0


def test_overlap_is_a_count_or_a_fraction(prepare_yaml: Path) -> None:
    assert load_prepare_config(prepare_yaml, ["data.overlap=0.5"]).data.overlap == 0.5
    assert load_prepare_config(prepare_yaml, ["data.overlap=1"]).data.overlap == 1


def test_the_other_kind_of_config_is_refused_with_the_right_command(train_yaml: Path, prepare_yaml: Path) -> None:
    with pytest.raises(ConfigError, match=r"is a prepare config; .*\./prepare_data\.sh"):
        load_train_config(prepare_yaml)
    with pytest.raises(ConfigError, match=r"is a training config; .*\./train\.sh"):
        load_prepare_config(train_yaml)


def test_every_shipped_config_loads(repository: Path) -> None:
    shipped = sorted((repository / "configs").glob("*.yaml"))
    assert shipped
    for path in shipped:
        config = load_prepare_config(path) if path.name.startswith("prepare_") else load_train_config(path)
        if not path.name.startswith("prepare_"):
            assert config.train.device == "auto", path
            assert config.data.prepare is None or (repository / config.data.prepare).is_file(), path


def test_storage_places_follow_each_other_and_default_to_the_checkout(repository: Path, tmp_path: Path) -> None:
    both = environment_storage({})
    assert both.scratch == both.project == repository / "storage"
    one = environment_storage({"SCRATCH_STORAGE_DIR": str(tmp_path)})
    assert one.scratch == one.project == tmp_path
    two = environment_storage({"SCRATCH_STORAGE_DIR": str(tmp_path / "s"), "PROJECT_STORAGE_DIR": str(tmp_path / "p")})
    assert (two.scratch, two.project) == (tmp_path / "s", tmp_path / "p")


def test_a_relative_storage_place_is_refused() -> None:
    with pytest.raises(ConfigError, match="PROJECT_STORAGE_DIR=~nosuchuser/x: no such user"):
        environment_storage({"PROJECT_STORAGE_DIR": "~nosuchuser/x"})
    with pytest.raises(ConfigError, match=r"SCRATCH_STORAGE_DIR=scratch: not absolute; export SCRATCH_STORAGE_DIR=/"):
        environment_storage({"SCRATCH_STORAGE_DIR": "scratch"})


def test_the_restart_count_of_slurm_is_a_number() -> None:
    assert slurm_restart_count({}) == 0
    assert slurm_restart_count({"SLURM_RESTART_COUNT": "2"}) == 2
    with pytest.raises(ConfigError, match="SLURM_RESTART_COUNT=two"):
        slurm_restart_count({"SLURM_RESTART_COUNT": "two"})
