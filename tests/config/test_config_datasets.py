"""The table of datasets: complete, consistent, and each with a config that prepares it."""

import re
from pathlib import Path

import pytest

from difflogic_tonic.config import DATASETS, DatasetFacts, load_prepare_config, load_train_config
from difflogic_tonic.errors import ConfigError

EVERY = pytest.mark.parametrize("facts", DATASETS.values(), ids=DATASETS)


@EVERY
def test_counts_are_of_all_classes_and_layouts_can_be_matched(facts: DatasetFacts) -> None:
    assert facts.layouts
    for layout in facts.layouts:
        counts = layout.counts or facts.counts
        assert all(isinstance(each, int) or len(each) == len(facts.classes) for each in counts.values())
        assert counts.keys() in ({"train", "test"}, {"all"}, set())
        re.compile(layout.folders)
        re.compile(layout.file)
        assert not layout.labels or len(layout.labels) == len(facts.classes)
        assert (
            ("(?P<split>" in layout.folders) == (counts.keys() != {"all"}) or layout.holds != "recording" or not counts
        )
    assert len(set(facts.classes)) == len(facts.classes)


@EVERY
def test_each_dataset_says_whose_it_is_and_how_to_get_it(facts: DatasetFacts) -> None:
    assert facts.title
    assert facts.licence
    assert facts.citation
    for file in facts.files:
        assert file.urls or file.page, file.name
        assert file.md5 is None or re.fullmatch("[0-9a-f]{32}", file.md5)


@EVERY
def test_the_shipped_config_prepares_it(facts: DatasetFacts, repository: Path) -> None:
    assert load_prepare_config(repository / facts.prepare_config).facts.name == facts.name


@EVERY
def test_the_documentation_names_it(facts: DatasetFacts, repository: Path) -> None:
    assert f"`{facts.name}`" in (repository / "docs" / "data.md").read_text()


def test_totals_are_the_published_ones() -> None:
    totals = {
        name: {split: each if isinstance(each, int) else sum(each) for split, each in facts.counts.items()}
        for name, facts in DATASETS.items()
    }
    assert totals["CIFAR10DVS"] == {"all": 10_000}
    assert totals["DVSGESTURE"] == {"train": 1176, "test": 288}
    assert totals["NCARS"] == {"train": 15_422, "test": 8_607}
    assert totals["ASL_DVS"] == {"all": 100_800}
    assert totals["CIFAR100"] == {"train": 50_000, "test": 10_000}
    assert totals["MNIST"] == totals["NMNIST"] == {"train": 60_000, "test": 10_000}


@pytest.mark.parametrize(
    ("config", "override", "message"),
    [
        ("nmnist", "data.split=fixed", "data.split: NMNIST has official test recordings; remove it"),
        ("mnist", "data.test_fraction=0.2", "data.test_fraction: MNIST has official test recordings; remove it"),
        ("nmnist", "data.sensor=[34,34]", "data.sensor is for FOLDER; remove it"),
        ("nmnist", "data.format=npy", "data.format is for FOLDER; remove it"),
        ("imagefolder", "data.sensor=[34,34]", "data.sensor is for events, and IMAGEFOLDER has images; remove it"),
        ("cifar10", "data.image_size=[34,34]", "data.image_size is for IMAGEFOLDER and IMAGENET; remove it"),
        ("folder", "data.image_size=[34,34]", "data.image_size is for IMAGEFOLDER and IMAGENET; remove it"),
        ("folder", "data.sensor=[34]", "data.sensor: expected"),
        ("cifar10dvs", "data.split=random", "data.split: 'random' is not one of seeded, fixed"),
    ],
)
def test_a_key_of_other_datasets_is_refused(repository: Path, config: str, override: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_prepare_config(repository / f"configs/prepare_{config}.yaml", [override])
    assert message in str(error.value)


def test_a_config_gives_the_size_where_the_dataset_has_none(repository: Path) -> None:
    folder = load_prepare_config(repository / "configs/prepare_folder.yaml", ["data.sensor=[20,10]"])
    assert folder.facts.sensor == (20, 10, 2)
    images = load_prepare_config(repository / "configs/prepare_imagefolder.yaml", ["data.image_size=[20,10]"])
    assert images.facts.sensor == (20, 10, 3)
    assert load_prepare_config(repository / "configs/prepare_folder.yaml").facts.sensor is None


def test_a_logic_network_is_checked_against_the_frames_that_its_prepare_config_makes(
    repository: Path, tmp_path: Path
) -> None:
    prepare = tmp_path / "prepare.yaml"
    shipped = repository / "configs/cifar10dvs_difflogic.yaml"
    prepare.write_text("data: {name: CIFAR10DVS, downsample: 8}")
    small = ["model.difflogic.num_neurons=770", f"data.prepare={prepare}"]
    assert load_train_config(shipped, small).sample_shape == (2, 16, 16)  # 512 counts, 3 bits each: 1,536 inputs
    prepare.write_text("data: {name: CIFAR10DVS, crop: [0, 0, 20, 10], levels: [1, 2], frames: thermometer}")
    assert load_train_config(shipped, [f"data.prepare={prepare}"]).sample_shape == (4, 10, 20)
    prepare.write_text("data: {name: CIFAR10DVS}")
    with pytest.raises(ConfigError, match="wires for 98304 inputs"):
        load_train_config(shipped, [f"data.prepare={prepare}"])


def test_a_variant_is_named_as_its_folder_is_also_with_the_function_that_sliced(repository: Path) -> None:
    shipped = repository / "configs/digits_mlp.yaml"
    for start in ("0123abcd", "halves-d713f428476a"):
        assert load_train_config(shipped, ["data.prepare=null", f"data.variant={start}"]).data.variant == start
    for other in ("halves", "halves-", "halves-012", "half-way-0123", "/halves-0123"):
        with pytest.raises(ConfigError, match="after FUNCTION- where a function of your own slices"):
            load_train_config(shipped, ["data.prepare=null", f"data.variant={other}"])


def test_what_only_the_prepared_frames_tell_is_left_to_them(repository: Path) -> None:
    shipped = repository / "configs/cifar10dvs_difflogic.yaml"
    config = load_train_config(shipped, ["data.prepare=null", "data.variant=abcd", "model.difflogic.num_neurons=10"])
    assert config.sample_shape is None
    assert load_train_config(shipped, ["data.prepare=null", "data.name=FOLDER"]).sample_shape is None
