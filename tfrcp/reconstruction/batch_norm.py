"""Re-estimates the moving statistics of batch norms, after pruning and after short trainings."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from tfrcp.data import as_arrays
from tfrcp.graph.program import Program
from tfrcp.graph.trace import trace
from tfrcp.graph.weights import layer_at, read_weights, slice_weights, variables_of
from tfrcp.reconstruction.blocked_statistics import AT_ONCE, statistics_in_blocks, widest_bytes


class BatchNormStatistics:
    """The statistics of a model's batch norms, estimated as often as its weights change.

    All images go through the network as one batch, each batch norm normalizing by their pooled mean
    and (biased) variance, so that the result depends neither on the batch size nor on the order of
    the images. Many large images are taken in blocks, with the same result.

    Args:
        model: A built Functional or Sequential `keras.Model`.
        frozen: Whether batch norms that are not trainable are estimated as well. In training Keras
            leaves their statistics alone and normalizes by them, so that what lies behind them is
            estimated with these.

    Attributes:
        momentum: The largest momentum among the batch norms that are estimated; 0 if there is none.

    Raises:
        ValueError: If the model cannot be traced.
    """

    def __init__(self, model: keras.Model, *, frozen: bool = True) -> None:
        self._model, self._graph = model, trace(model)
        self._program = Program(self._graph)
        self._run: Any = None
        entries = variables_of(self._graph, model)
        norms = {path: entry for path, entry in entries.items() if "moving_mean" in entry}
        calls = [call for call in self._graph.calls.calls if call.path in norms]
        self._without = frozenset(
            call for call in calls if not (frozen or layer_at(model, call.path).trainable)
        )
        paths = {call.path for call in calls if call not in self._without}
        self._variables = {path: entry for path, entry in norms.items() if path in paths}
        layers = (layer_at(model, path) for path in self._variables)
        self.momentum = max((float(layer.momentum) for layer in layers), default=0.0)

    def estimate(self, x: Any) -> None:
        """Sets the moving mean and variance of every batch norm to those of images.

        Args:
            x: Images, structure of arrays [N, ...] like the model's inputs.
        """
        if not self._variables:
            return
        arrays = slice_weights(self._graph, read_weights(self._graph, self._model), {})
        images = self._program.pack(x)
        widest = widest_bytes(self._program, arrays, images)
        if widest * len(keras.tree.flatten(images)[0]) > AT_ONCE:
            statistics = statistics_in_blocks(self._program, arrays, images, self._without)
        else:
            if self._run is None:
                self._run = self._program.compile(self._on_images, arrays)
            _, statistics = self._run(arrays, images)
        for path, (mean, variance) in statistics.items():
            self._variables[path]["moving_mean"].assign(np.asarray(mean))
            self._variables[path]["moving_variance"].assign(np.asarray(variance))

    def _on_images(self, arrays: Any, inputs: Any) -> Any:
        return self._program.run_on_batch_statistics(arrays, inputs, self._without)


def recalibrate_batch_norm(model: keras.Model, data: Any, *, count: int | None = None) -> None:
    """Sets the moving mean and variance of every batch norm to those of the calibration images.

    See `BatchNormStatistics`. Batch norms that are not trainable are estimated too: what they see
    has changed with the channels. (Training, and the callback `tfrcp.RecalibrateBatchNorm`, leave
    them alone, as Keras does.)

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
    BatchNormStatistics(model).estimate(x)
