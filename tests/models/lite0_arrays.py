"""Made-up arrays of EfficientNet-Lite0 under their PyTorch names."""

import numpy as np

_WIDTHS = (32, 16, 24, 24, 40, 40, 80, 80, 80, 112, 112, 112, 192, 192, 192, 192, 320)
_WINDOWS = (3, 3, 3, 5, 5, 3, 3, 3, 5, 5, 5, 5, 5, 5, 5, 3)


def lite0_arrays() -> dict[str, np.ndarray]:
    """Random kernels and statistics; biases of the classifier are the numbers of the classes."""
    random, arrays = np.random.default_rng(0), {}

    def kernel(name, *shape):
        arrays[f"{name}.weight"] = random.normal(size=shape).astype("float32")

    def norm(name, width):
        for end in ("weight", "bias", "running_mean", "running_var"):
            arrays[f"{name}.{end}"] = random.uniform(0.5, 1.5, width).astype("float32")
        arrays[f"{name}.num_batches_tracked"] = np.array(9)

    kernel("_conv_stem", 32, 3, 3, 3)
    norm("_bn0", 32)
    for block, window in enumerate(_WINDOWS):
        inputs, outputs = _WIDTHS[block : block + 2]
        at, width = f"_blocks.{block}.", inputs if block == 0 else 6 * inputs
        if block:
            kernel(f"{at}_expand_conv", width, inputs, 1, 1)
            norm(f"{at}_bn0", width)
        kernel(f"{at}_depthwise_conv", width, 1, window, window)
        norm(f"{at}_bn1", width)
        kernel(f"{at}_project_conv", outputs, width, 1, 1)
        norm(f"{at}_bn2", outputs)
    kernel("_conv_head", 1280, 320, 1, 1)
    norm("_bn1", 1280)
    kernel("_fc", 1000, 1280)
    arrays["_fc.bias"] = np.arange(1000, dtype="float32")
    return arrays
