"""Image-classification data as three disjoint splits, and any data as NumPy arrays.

`load` reads scikit-learn's digits, an .npz file or a TensorFlow Datasets folder into memory: train
to fit and calibrate, holdout to select, test to look at once. `as_arrays` is how the rest of the
package reads whatever data a user passes.
"""

from tfrcp.data.arrays import as_arrays, check_disjoint, check_labels
from tfrcp.data.sources import load
from tfrcp.data.split import AUGMENTATIONS, Split, Splits

__all__ = [
    "AUGMENTATIONS",
    "Split",
    "Splits",
    "as_arrays",
    "check_disjoint",
    "check_labels",
    "load",
]
