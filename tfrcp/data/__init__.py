"""Data as three disjoint splits, and any data as NumPy arrays.

`load_from_factory` takes the data of any job from a function of the user's. For image
classification, `load` reads scikit-learn's digits, an .npz file, a folder of images or a TensorFlow
data set, into memory or as a stream: train to fit and calibrate, holdout to select, test to look at
once.
`as_arrays` is how the rest of the package reads whatever data a user passes.
"""

from tfrcp.data.arrays import (
    IN_MEMORY,
    Examples,
    as_arrays,
    check_disjoint,
    check_labels,
    read_examples,
)
from tfrcp.data.augmentation import AUGMENTATIONS
from tfrcp.data.batches import Batches
from tfrcp.data.factory import load_from_factory
from tfrcp.data.memory import MemorySplit
from tfrcp.data.row_file import RowFile
from tfrcp.data.sources import load
from tfrcp.data.splits import Split, Splits

__all__ = [
    "AUGMENTATIONS",
    "IN_MEMORY",
    "Batches",
    "Examples",
    "MemorySplit",
    "RowFile",
    "Split",
    "Splits",
    "as_arrays",
    "check_disjoint",
    "check_labels",
    "load",
    "load_from_factory",
    "read_examples",
]
