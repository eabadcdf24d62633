"""Datasets of event-camera recordings."""

from difflogic_tonic.config.datasets.types import DatasetFacts, DownloadFile, Layout, SensorSize

_MENDELEY = "https://data.mendeley.com/public-files/datasets/468j46mzdv/files"
_DIGITS = tuple(str(digit) for digit in range(10))

_SACCADES = Layout(
    format="atis",
    folders=r"(?P<split>(?i:train|test))/(?P<label>[^/]+)",
    file=r"(?P<number>\d+)\.bin",
    shown="Train/<class>/<number>.bin and Test/<class>/<number>.bin",
)

_CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def _figshare(number: int) -> tuple[str, ...]:
    """Addresses of a file on figshare; the plain one answers programs with nothing since the end of 2025."""
    return (f"https://api.figshare.com/v2/file/download/{number}", f"https://ndownloader.figshare.com/files/{number}")


def _cifar10dvs(format: str, suffix: str) -> Layout:
    return Layout(
        format=format,
        folders=r"(?P<label>[^/]+)",
        file=rf"cifar10_[a-z]+_(?P<number>\d+)\.{suffix}",
        shown=f"<class>/cifar10_<class>_<number>.{suffix}",
    )


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
        layouts=(_SACCADES,),
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
        layouts=(_SACCADES,),
        prepare_config="configs/prepare_digits.yaml",
        licence="CC BY 4.0 (digit images: E. Alpaydin, C. Kaynak, UCI, 1998)",
        citation="Generated here from the Optical Recognition of Handwritten Digits test set (UCI, 1998)",
        embedded=True,
    ),
    DatasetFacts(
        name="CIFAR10DVS",
        title="CIFAR10-DVS: CIFAR-10 images moving on a screen, seen by a DVS128 camera",
        sensor=SensorSize(width=128, height=128, polarities=2),
        classes=_CIFAR_CLASSES,
        counts={"all": (1000,) * 10},
        layouts=(_cifar10dvs("aedat2-cifar10dvs", "aedat"), _cifar10dvs("aedat4", "aedat4")),
        prepare_config="configs/prepare_cifar10dvs.yaml",
        licence="not established",
        citation=(
            "H. Li, H. Liu, X. Ji, G. Li, L. Shi: CIFAR10-DVS: An Event-Stream Dataset for Object Classification. "
            "Frontiers in Neuroscience 11:309, 2017"
        ),
        files=tuple(
            DownloadFile(f"{name}.zip", _figshare(number), md5)
            for name, number, md5 in (
                ("airplane", 7712788, "0afd5c4bf9ae06af762a77b180354fdd"),
                ("automobile", 7712791, "8438dfeba3bc970c94962d995b1b9bdd"),
                ("bird", 7712794, "a9c207c91c55b9dc2002dc21c684d785"),
                ("cat", 7712812, "52c63c677c2b15fa5146a8daf4d56687"),
                ("deer", 7712815, "b6bf21f6c04d21ba4e23fc3e36c8a4a3"),
                ("dog", 7712818, "f379ebdf6703d16e0a690782e62639c3"),
                ("frog", 7712842, "cad6ed91214b1c7388a5f6ee56d08803"),
                ("horse", 7712851, "e7cbbf77bec584ffbf913f00e682782a"),
                ("ship", 7712836, "41c7bd7d6b251be82557c6cce9a7d5c9"),
                ("truck", 7712839, "89f3922fd147d9aeff89e76a2b0b70a7"),
            )
        ),
        notes="No official split. tonic's conversion to AEDAT 4 (CIFAR10DVS.zip, "
        "MD5 ce3a4a0682dc0943703bd8f749a7701c, figshare 38023437) is read as well.",
    ),
    DatasetFacts(
        name="DVSGESTURE",
        title="DVS128 Gesture: eleven hand and arm gestures of 29 people under three lights",
        sensor=SensorSize(width=128, height=128, polarities=2),
        classes=(
            *("hand_clapping", "right_hand_wave", "left_hand_wave", "right_arm_clockwise"),
            *("right_arm_counter_clockwise", "left_arm_clockwise", "left_arm_counter_clockwise", "arm_roll"),
            *("air_drums", "air_guitar", "other_gestures"),
        ),
        counts={"train": 1176, "test": 288},
        layouts=(
            Layout(
                format="npy-xypt-ms",
                folders="(?P<split>ibmGestureTrain|ibmGestureTest)/[^/]+",
                file=r"(?P<label>\d+)\.npy",
                shown="ibmGestureTrain/<person>_<light>/<class>.npy and ibmGestureTest/...",
                splits=(("ibmGestureTrain", "train"), ("ibmGestureTest", "test")),
                labels=tuple(map(str, range(11))),
                counts={"train": 1077, "test": 264},
            ),
            Layout(
                format="aedat3",
                folders="",
                file=r"user\d+_[a-z_]+(\.aedat|_labels\.csv)|trials_to_(train|test)\.txt",
                shown="DvsGesture/<person>_<light>.aedat with their _labels.csv and trials_to_train.txt",
                holds="cuts",
            ),
        ),
        prepare_config="configs/prepare_dvsgesture.yaml",
        licence="CC BY 4.0",
        citation=(
            "A. Amir et al.: A Low Power, Fully Event-Based Gesture Recognition System. "
            "IEEE Conference on Computer Vision and Pattern Recognition, 2017"
        ),
        files=(
            DownloadFile("ibmGestureTrain.tar.gz", _figshare(38022171), "3a8f0d4120a166bac7591f77409cb105"),
            DownloadFile("ibmGestureTest.tar.gz", _figshare(38020584), "56070e45dadaa85fff82e0fbfbc06de5"),
        ),
        notes="Two sets go by this name: IBM's recordings cut by their tables are 1,176 + 288 (DvsGesture.tar.gz, MD5 "
        "8a5c71fb11e24e5ca5b11866ca6c00a1, by hand from IBM's box); tonic's, cut by others and with times in ms, are "
        "1,077 + 264, and can be downloaded.",
    ),
    DatasetFacts(
        name="NCALTECH101",
        title="N-Caltech101: Caltech101 images on a screen, seen by an ATIS camera making three saccades",
        sensor=SensorSize(width=240, height=180, polarities=2),
        classes=(),
        official_classes=101,
        counts={"all": 8709},
        layouts=(
            Layout(
                format="atis",
                folders="Caltech101/(?P<label>[^/]+)",
                file=r"image_(?P<number>\d+)\.bin",
                shown="Caltech101/<class>/image_<number>.bin",
            ),
        ),
        prepare_config="configs/prepare_ncaltech101.yaml",
        licence="CC BY 4.0",
        citation=(
            "G. Orchard, A. Jayawant, G. K. Cohen, N. Thakor: Converting Static Image Datasets to Spiking "
            "Neuromorphic Datasets Using Saccades. Frontiers in Neuroscience 9:437, 2015"
        ),
        files=(
            DownloadFile(
                name="Caltech101.zip",
                urls=(
                    "https://data.mendeley.com/public-files/datasets/cy6cvx3ryv/files/"
                    "36b5c52a-b49d-4853-addb-a836a8883e49/file_downloaded",
                ),
                md5="66201824eabb0239c7ab992480b50ba3",
            ),
        ),
        notes="No official split. Recordings have different sizes, up to 240x180.",
    ),
    DatasetFacts(
        name="POKERDVS",
        title="POKER-DVS: the symbols of playing cards, seen by a DVS camera",
        sensor=SensorSize(width=35, height=35, polarities=2),
        classes=("club", "heart", "diamond", "spade"),
        counts={"train": (12,) * 4, "test": (5,) * 4},
        layouts=(
            Layout(
                format="npy-txyp",
                folders="(?P<split>pips_train|pips_test)/(?P<label>cl|he|di|sp)",
                file=r"(?P<number>\d+)\.npy",
                shown="pips_train/<cl, he, di, sp>/<number>.npy and pips_test/...",
                splits=(("pips_train", "train"), ("pips_test", "test")),
                labels=("cl", "he", "di", "sp"),
            ),
            Layout(
                format="aedat2-pokerdvs",
                folders="[^/]*",
                file=r"x(?P<label>club|heart|diamond|spade)\d+i?\.aedat",
                shown="x<class><number>.aedat",
                strict=False,
                counts={"all": (30, 23, 43, 35)},
            ),
        ),
        prepare_config="configs/prepare_pokerdvs.yaml",
        licence="none found",
        citation=(
            "T. Serrano-Gotarredona, B. Linares-Barranco: Poker-DVS and MNIST-DVS. Their History, How They Were Made, "
            "and Other Details. Frontiers in Neuroscience 9:481, 2015"
        ),
        files=(
            DownloadFile(
                "pips_train.tar.gz", (), "412bcfb96826e4fcb290558e8c150aae", 700_096, "part of the package tonic"
            ),
            DownloadFile(
                "pips_test.tar.gz", (), "eef2bf7d0d3defae89a6fa98b07c17af", 311_022, "part of the package tonic"
            ),
        ),
        notes="The 131 original AEDAT 2.0 recordings, which have no official split, are read as well.",
    ),
    DatasetFacts(
        name="NCARS",
        title="N-CARS: cars and background on the road, seen by an ATIS camera",
        sensor=SensorSize(width=120, height=100, polarities=2),
        classes=("background", "cars"),
        counts={"train": (7482, 7940), "test": (4211, 4396)},
        layouts=(
            Layout(
                format="dat",
                folders="(?P<split>n-cars_train|n-cars_test)(/train|/test)?/(?P<label>[^/]+)",
                file=r"obj_(?P<number>\d+)_td\.dat",
                shown="n-cars_train/<cars, background>/obj_<number>_td.dat and n-cars_test/...",
                splits=(("n-cars_train", "train"), ("n-cars_test", "test")),
            ),
        ),
        prepare_config="configs/prepare_ncars.yaml",
        licence="not established",
        citation=(
            "A. Sironi, M. Brambilla, N. Bourdis, X. Lagorce, R. Benosman: HATS: Histograms of Averaged Time Surfaces "
            "for Robust Event-Based Object Classification. CVPR, 2018"
        ),
        files=(
            DownloadFile(
                name="Prophesee_Dataset_n_cars.zip",
                md5="553ce464d6e5e617b3c21ce27c19368e",
                page="https://www.prophesee.ai/2018/03/13/dataset-n-cars/",
            ),
        ),
    ),
    DatasetFacts(
        name="ASL_DVS",
        title="ASL-DVS: 24 letters of the American sign language, seen by a DAVIS240 camera",
        sensor=SensorSize(width=240, height=180, polarities=2),
        classes=tuple("abcdefghiklmnopqrstuvwxy"),
        counts={"all": (4200,) * 24},
        layouts=(
            Layout(
                format="mat-asldvs",
                folders="(?P<label>[^/]+)",
                file=r"[a-y]_(?P<number>\d+)\.mat",
                shown="<letter>/<letter>_<number>.mat",
            ),
        ),
        prepare_config="configs/prepare_asl_dvs.yaml",
        licence="none found",
        citation=(
            "Y. Bi, A. Chadha, A. Abbas, E. Bourtsoulatze, Y. Andreopoulos: Graph-Based Object Classification for "
            "Neuromorphic Vision Sensing. ICCV, 2019"
        ),
        files=(
            DownloadFile(
                name="ICCV2019_DVS_dataset.zip",
                page="https://www.dropbox.com/sh/ibq0jsicatn7l6r/AACNrNELV56rs1YInMWUs9CAa?dl=0",
            ),
        ),
        notes="No official split. The archive is packed anew for every download, so that it has no checksum.",
    ),
    DatasetFacts(
        name="DVSLIP",
        title="DVS-Lip: 100 words spoken by 40 people, their lips seen by a DAVIS346 camera",
        sensor=SensorSize(width=128, height=128, polarities=2),
        classes=(),
        official_classes=100,
        counts={"train": 14_896, "test": 4_975},
        layouts=(
            Layout(
                format="npy",
                folders="(?P<split>(?i:train|test))/(?P<label>[a-z]+)",
                file=r"(?P<number>\d+)\.npy",
                shown="train/<word>/<number>.npy and test/...",
            ),
        ),
        prepare_config="configs/prepare_dvslip.yaml",
        licence="not established",
        citation=(
            "G. Tan, Y. Wang, H. Han, Y. Cao, F. Wu, Z.-J. Zha: Multi-Grained Spatio-Temporal Features Perceived "
            "Network for Event-Based Lip-Reading. CVPR, 2022"
        ),
        files=(
            DownloadFile(
                name="DVS-Lip.zip",
                md5="2dcb959255122d4cdeb6094ca282494b",
                page="https://sites.google.com/view/event-based-lipreading",
            ),
        ),
    ),
)
