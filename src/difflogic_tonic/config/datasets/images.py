"""Datasets of images. Each image is a recording of one frame."""

from difflogic_tonic.config.datasets.types import DatasetFacts, DownloadFile, Pack, SensorSize

_DIGITS = tuple(str(digit) for digit in range(10))
_GARMENTS = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")

_MNIST_URLS = ("https://ossci-datasets.s3.amazonaws.com/mnist", "https://storage.googleapis.com/cvdf-datasets/mnist")
_FASHION_URLS = ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",)

_IDX_PACKS = (
    Pack("train", "train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    Pack("test", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
)


def _idx_files(urls: tuple[str, ...], *files: tuple[str, str, int]) -> tuple[DownloadFile, ...]:
    """(name without .gz, MD5, bytes) of files that lie side by side at each of `urls`."""
    return tuple(
        DownloadFile(f"{name}.gz", tuple(f"{url}/{name}.gz" for url in urls), md5, size) for name, md5, size in files
    )


IMAGE_DATASETS = (
    DatasetFacts(
        name="MNIST",
        title="MNIST: handwritten digits",
        kind="images",
        sensor=SensorSize(width=28, height=28, polarities=1),
        classes=_DIGITS,
        counts={
            "train": (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
            "test": (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009),
        },
        format="idx",
        prepare_config="configs/prepare_mnist.yaml",
        licence="none stated by its authors; elsewhere distributed as CC BY-SA 3.0",
        citation=(
            "Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-Based Learning Applied to Document Recognition. "
            "Proceedings of the IEEE 86(11):2278-2324, 1998"
        ),
        files=_idx_files(
            _MNIST_URLS,
            ("train-images-idx3-ubyte", "f68b3c2dcbeaaa9fbdd348bbdeb94873", 9_912_422),
            ("train-labels-idx1-ubyte", "d53e105ee54ea40749a09fcbcd1e9432", 28_881),
            ("t10k-images-idx3-ubyte", "9fb629c4189551a2d022fa330f9573f3", 1_648_877),
            ("t10k-labels-idx1-ubyte", "ec29112dd5afa0611ce80d1b7f02629c", 4_542),
        ),
        packs=_IDX_PACKS,
    ),
    DatasetFacts(
        name="FASHIONMNIST",
        title="Fashion-MNIST: articles of clothing",
        kind="images",
        sensor=SensorSize(width=28, height=28, polarities=1),
        classes=_GARMENTS,
        counts={"train": (6000,) * 10, "test": (1000,) * 10},
        format="idx",
        prepare_config="configs/prepare_fashionmnist.yaml",
        licence="MIT (Zalando SE)",
        citation=(
            "H. Xiao, K. Rasul, R. Vollgraf: Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning "
            "Algorithms. arXiv 1708.07747, 2017"
        ),
        files=_idx_files(
            _FASHION_URLS,
            ("train-images-idx3-ubyte", "8d4fb7e6c68d591d4c3dfef9ec88bf0d", 26_421_880),
            ("train-labels-idx1-ubyte", "25c81989df183df01b3e8a0aad5dffbe", 29_515),
            ("t10k-images-idx3-ubyte", "bef4ecab320f06d8554ea6380940ec79", 4_422_102),
            ("t10k-labels-idx1-ubyte", "bb300cfdad3c16e7a12a480ee83cd310", 5_148),
        ),
        packs=_IDX_PACKS,
    ),
)
