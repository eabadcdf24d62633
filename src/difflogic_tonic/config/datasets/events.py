"""Datasets of event-camera recordings."""

from difflogic_tonic.config.datasets.types import DatasetFacts, DownloadFile, SensorSize

_MENDELEY = "https://data.mendeley.com/public-files/datasets/468j46mzdv/files"
_DIGITS = tuple(str(digit) for digit in range(10))

EVENT_DATASETS = (
    DatasetFacts(
        name="NMNIST",
        title="N-MNIST: MNIST digits on a screen, seen by an ATIS camera making three saccades",
        sensor=SensorSize(width=34, height=34, polarities=2),
        classes=_DIGITS,
        counts={
            "train": (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
            "test": (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009),
        },
        format="atis",
        prepare_config="configs/prepare_nmnist.yaml",
        licence="CC BY-SA 4.0",
        citation=(
            "G. Orchard, A. Jayawant, G. K. Cohen, N. Thakor: Converting Static Image Datasets to Spiking "
            "Neuromorphic Datasets Using Saccades. Frontiers in Neuroscience 9:437, 2015"
        ),
        files=(
            DownloadFile(
                name="Train.zip",
                urls=(f"{_MENDELEY}/39c25547-014b-4137-a934-9d29fa53c7a0/file_downloaded",),
                md5="20959b8e626244a1b502305a9e6e2031",
            ),
            DownloadFile(
                name="Test.zip",
                urls=(f"{_MENDELEY}/05a4d654-7e03-4c15-bdfa-9bb2bcbea494/file_downloaded",),
                md5="69ca8762b2fe404d9b9bad1103e97832",
            ),
        ),
    ),
    DatasetFacts(
        name="DIGITS_DVS",
        title="DIGITS_DVS: scikit-learn's digits seen by a simulated event camera making three saccades",
        sensor=SensorSize(width=34, height=34, polarities=2),
        classes=_DIGITS,
        counts={
            "train": (142, 146, 142, 146, 145, 146, 145, 143, 139, 144),
            "test": (36, 36, 35, 37, 36, 36, 36, 36, 35, 36),
        },
        format="atis",
        prepare_config="configs/prepare_digits.yaml",
        licence="CC BY 4.0 (digit images: E. Alpaydin, C. Kaynak, UCI, 1998)",
        citation="Generated here from the Optical Recognition of Handwritten Digits test set (UCI, 1998)",
        embedded=True,
    ),
)
