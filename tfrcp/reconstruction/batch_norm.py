"""Re-estimates the moving statistics of batch norms after pruning."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from tfrcp.data import as_arrays
from tfrcp.graph.program import Program
from tfrcp.graph.trace import trace
from tfrcp.graph.weights import read_weights, slice_weights, variables_of


def recalibrate_batch_norm(model: keras.Model, data: Any, *, count: int | None = None) -> None:
    """Sets the moving mean and variance of every batch norm to those of the calibration images.

    All images go through the network as one batch, each batch norm normalizing by their pooled mean
    and (biased) variance, so that the result depends neither on the batch size nor on the order of
    the images. The memory of a few of the network's largest activations for all images is needed.

    Args:
        model: A built Functional or Sequential `keras.Model`; changed in place.
        data: A batched `tf.data.Dataset`, a tuple of arrays (x, y), x alone, or a `PyDataset`;
            labels are not used.
        count: How many images to use. Defaults to all.

    Raises:
        ValueError: If there is no image, if images are not finite numbers, or if the model
            cannot be traced.
    """
    x, _ = as_arrays(data, count=count)
    graph = trace(model)
    program = Program(graph)
    arrays = slice_weights(graph, read_weights(graph, model), {})
    run = program.compile(program.run_on_batch_statistics, arrays)
    _, statistics = run(arrays, program.pack(x))
    variables = variables_of(graph, model)
    for path, (mean, variance) in statistics.items():
        variables[path]["moving_mean"].assign(np.asarray(mean))
        variables[path]["moving_variance"].assign(np.asarray(variance))
