"""Folders of one's own: recordings or images, one folder for each class."""

from difflogic_tonic.config.datasets.types import DatasetFacts, Layout

_PICTURE = r"[^/]+\.(?i:png|jpe?g)"


def _own(format: str, file: str, shown: str) -> tuple[Layout, ...]:
    """With official parts, and without."""
    return (
        Layout(
            format=format,
            folders="(?P<split>(?i:train|test))/(?P<label>[^/]+)",
            file=file,
            shown=f"train/<class>/{shown} and test/<class>/{shown}",
        ),
        Layout(format=format, folders="(?P<label>[^/]+)", file=file, shown=f"<class>/{shown}"),
    )


OWN_DATASETS = (
    DatasetFacts(
        name="FOLDER",
        title="Recordings of one's own: a folder for each class, below train and test or not; any format",
        sensor=None,
        classes=(),
        counts={},
        layouts=_own("auto", "[^/]+", "<recording>"),
        prepare_config="configs/prepare_folder.yaml",
        licence="one's own",
        citation="one's own",
    ),
    DatasetFacts(
        name="IMAGEFOLDER",
        title="Images of one's own: PNG and JPEG files, a folder for each class, below train and test or not",
        kind="images",
        sensor=None,
        classes=(),
        counts={},
        layouts=_own("picture", _PICTURE, "<image>.png or .jpg"),
        prepare_config="configs/prepare_imagefolder.yaml",
        licence="one's own",
        citation="one's own",
    ),
    DatasetFacts(
        name="IMAGENET",
        title="ImageNet (ILSVRC 2012), which one has to bring; the validation images are the test split",
        kind="images",
        sensor=None,
        classes=(),
        official_classes=1000,
        counts={"train": 1_281_167, "test": 50_000},
        layouts=(
            Layout(
                format="picture",
                folders=r"(?P<split>(?i:train|val))/(?P<label>n\d{8})",
                file=r"[^/]+\.(?i:jpe?g)",
                shown="train/<wnid>/<image>.JPEG and val/<wnid>/<image>.JPEG",
                splits=(("Train", "train"), ("Val", "test")),
            ),
        ),
        prepare_config="configs/prepare_imagenet.yaml",
        licence="non-commercial research, by the terms of image-net.org",
        citation=(
            "O. Russakovsky et al.: ImageNet Large Scale Visual Recognition Challenge. "
            "International Journal of Computer Vision 115(3):211-252, 2015"
        ),
    ),
)
