"""Datasets of images. Each image is a recording of one frame."""

import re

from difflogic_tonic.config.datasets.types import DatasetFacts, DownloadFile, Layout, Pack, SensorSize

_DIGITS = tuple(str(digit) for digit in range(10))
_GARMENTS = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")

_CIFAR100 = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree
wolf woman worm
"""

_MNIST_URLS = ("https://ossci-datasets.s3.amazonaws.com/mnist", "https://storage.googleapis.com/cvdf-datasets/mnist")
_FASHION_URLS = ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",)

_IDX = Layout(
    format="idx",
    folders="",
    file=r"(train|t10k)-(images-idx3|labels-idx1)-ubyte(\.gz)?",
    shown="train-images-idx3-ubyte.gz and the three files beside it",
    holds="packs",
    packs=(
        Pack("train", "train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
        Pack("test", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
    ),
)


def _cifar(format: str, train: tuple[str, ...], test: str, shown: str) -> Layout:
    return Layout(
        format=format,
        folders="",
        file="|".join(map(re.escape, (*train, test))),
        shown=shown,
        holds="packs",
        packs=(*(Pack("train", name) for name in train), Pack("test", test)),
    )


_CIFAR_PAGE = "https://www.cs.toronto.edu/~kriz"
_CIFAR_CITATION = "A. Krizhevsky: Learning Multiple Layers of Features from Tiny Images. Technical report, 2009"
_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))


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
        layouts=(_IDX,),
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
    ),
    DatasetFacts(
        name="FASHIONMNIST",
        title="Fashion-MNIST: articles of clothing",
        kind="images",
        sensor=SensorSize(width=28, height=28, polarities=1),
        classes=_GARMENTS,
        counts={"train": (6000,) * 10, "test": (1000,) * 10},
        layouts=(_IDX,),
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
    ),
    DatasetFacts(
        name="CIFAR10",
        title="CIFAR-10: small colour photographs of ten classes",
        kind="images",
        sensor=SensorSize(width=32, height=32, polarities=3),
        classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        counts={"train": (5000,) * 10, "test": (1000,) * 10},
        layouts=(
            _cifar("cifar10-binary", tuple(f"{name}.bin" for name in _BATCHES), "test_batch.bin", "data_batch_1.bin"),
            _cifar("cifar-python", _BATCHES, "test_batch", "the same of the Python version, data_batch_1"),
        ),
        prepare_config="configs/prepare_cifar10.yaml",
        licence="none stated by its author",
        citation=_CIFAR_CITATION,
        files=(
            DownloadFile(
                name="cifar-10-binary.tar.gz",
                urls=(f"{_CIFAR_PAGE}/cifar-10-binary.tar.gz",),
                md5="c32a1d4ab5d03f1284b67883e8d87530",
                size=170_052_171,
            ),
        ),
    ),
    DatasetFacts(
        name="CIFAR100",
        title="CIFAR-100: small colour photographs of a hundred classes",
        kind="images",
        sensor=SensorSize(width=32, height=32, polarities=3),
        classes=tuple(_CIFAR100.split()),
        counts={"train": (500,) * 100, "test": (100,) * 100},
        layouts=(
            _cifar("cifar100-binary", ("train.bin",), "test.bin", "train.bin and test.bin"),
            _cifar("cifar-python", ("train",), "test", "train and test of the Python version"),
        ),
        prepare_config="configs/prepare_cifar100.yaml",
        licence="none stated by its author",
        citation=_CIFAR_CITATION,
        files=(
            DownloadFile(
                name="cifar-100-binary.tar.gz",
                urls=(f"{_CIFAR_PAGE}/cifar-100-binary.tar.gz",),
                md5="03b5dce01913d631647c71ecec9e9cb8",
                size=168_513_733,
            ),
        ),
    ),
    DatasetFacts(
        name="TINYIMAGENET",
        title="Tiny ImageNet: photographs of 200 classes; the validation images are the test split",
        kind="images",
        sensor=SensorSize(width=64, height=64, polarities=3),
        classes=(),
        official_classes=200,
        counts={"train": 100_000, "test": 10_000},
        layouts=(
            Layout(
                format="picture",
                folders="",
                file=r"[^/]+\.JPEG|val_annotations\.txt",
                shown="tiny-imagenet-200/train/<wnid>/images/<image>.JPEG and .../val/images with val_annotations.txt",
                holds="annotated",
            ),
        ),
        prepare_config="configs/prepare_tinyimagenet.yaml",
        licence="non-commercial research, by the terms of image-net.org",
        citation="Y. Le, X. Yang: Tiny ImageNet Visual Recognition Challenge. CS 231N, Stanford University, 2015",
        files=(
            DownloadFile(
                name="tiny-imagenet-200.zip",
                urls=("http://cs231n.stanford.edu/tiny-imagenet-200.zip",),
                md5="90528d7ca1a48142e341f4ef8d21d0de",
                size=248_100_043,
            ),
        ),
        notes="The official test images have no labels.",
    ),
)
