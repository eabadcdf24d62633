"""Facts about the datasets, as data: what a config can be checked against before any file is read.

One entry a dataset. Whatever depends on a dataset (sensor, classes, counts, where to download it) reads this table.
"""

from difflogic_tonic.config.datasets.events import EVENT_DATASETS
from difflogic_tonic.config.datasets.images import IMAGE_DATASETS
from difflogic_tonic.config.datasets.own import OWN_DATASETS
from difflogic_tonic.config.datasets.types import Counts, DatasetFacts, DownloadFile, Layout, Pack, SensorSize, Split

__all__ = ["DATASETS", "Counts", "DatasetFacts", "DownloadFile", "Layout", "Pack", "SensorSize", "Split"]

DATASETS: dict[str, DatasetFacts] = {facts.name: facts for facts in (*EVENT_DATASETS, *IMAGE_DATASETS, *OWN_DATASETS)}
