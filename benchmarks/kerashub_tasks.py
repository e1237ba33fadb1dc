"""Classifiers, segmenters, detectors and a depth estimator of KerasHub, and what one does with
them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from benchmarks.kerashub_networks import backbones


def tasks(size: int = 64) -> dict[str, Callable[[], Any]]:
    """Functions that build the tasks for images, by name.

    Args:
        size: Height and width of the images.
    """
    from keras_hub import models

    made = backbones(size)
    options = {"num_classes": 3, "preprocessor": None}
    boxes = {"bounding_box_format": "xyxy"}

    def classifier(kind: str, backbone: str, **more: Any) -> Callable[[], Any]:
        return lambda: getattr(models, kind)(backbone=made[backbone](), **options, **more)

    def basnet() -> Any:
        encoder = models.ResNetBackbone(
            input_conv_filters=[64],
            input_conv_kernel_sizes=[7],
            stackwise_num_filters=[64, 24, 32, 32],
            stackwise_num_blocks=[2, 2, 2, 2],
            stackwise_num_strides=[1, 2, 2, 2],
            block_type="basic_block",
        )
        backbone = models.BASNetBackbone(encoder, num_classes=1, image_shape=(64, 64, 3))
        return models.BASNetImageSegmenter(backbone)

    def depth_anything() -> Any:
        encoder = models.DINOV2Backbone(
            image_shape=(112, 112, 3),
            patch_size=14,
            num_layers=4,
            num_heads=4,
            hidden_dim=32,
            intermediate_dim=64,
            position_embedding_shape=(112, 112, 3),
        )
        backbone = models.DepthAnythingBackbone(
            encoder,
            reassemble_factors=[4, 2, 1, 0.5],
            neck_hidden_dims=[8, 12, 16, 16],
            fusion_hidden_dim=16,
            head_hidden_dim=8,
            head_in_index=-1,
            feature_keys=["stage1", "stage2", "stage3", "stage4"],
        )
        return models.DepthAnythingDepthEstimator(
            backbone, depth_estimation_type="metric", max_depth=10.0
        )

    return {
        "ResNetImageClassifier": classifier("ResNetImageClassifier", "ResNetV1"),
        "CSPNetImageClassifier": classifier("CSPNetImageClassifier", "CSPNet"),
        "DenseNetImageClassifier": classifier("DenseNetImageClassifier", "DenseNet"),
        "DeiTImageClassifier": classifier("DeiTImageClassifier", "DeiT"),
        "EfficientNetImageClassifier": classifier("EfficientNetImageClassifier", "EfficientNetV2"),
        "HGNetV2ImageClassifier": classifier("HGNetV2ImageClassifier", "HGNetV2"),
        "MiTImageClassifier": classifier("MiTImageClassifier", "MiT"),
        "MobileNetImageClassifier": classifier(
            "MobileNetImageClassifier", "MobileNetV3", num_features=80
        ),
        "MobileNetV5ImageClassifier": classifier("MobileNetV5ImageClassifier", "MobileNetV5"),
        "SwinImageClassifier": classifier("SwinTransformerImageClassifier", "Swin"),
        "VGGImageClassifier": classifier("VGGImageClassifier", "VGG", pooling_hidden_dim=32),
        "ViTImageClassifier": classifier("ViTImageClassifier", "ViT"),
        "XceptionImageClassifier": classifier("XceptionImageClassifier", "Xception"),
        "BASNetImageSegmenter": basnet,
        "DeepLabV3ImageSegmenter": classifier("DeepLabV3ImageSegmenter", "DeepLabV3"),
        "SegFormerImageSegmenter": classifier("SegFormerImageSegmenter", "SegFormer"),
        "DepthAnythingDepthEstimator": depth_anything,
        "DFineObjectDetector": lambda: models.DFineObjectDetector(
            backbone=made["DFine"](), num_classes=4, **boxes
        ),
        "RetinaNetObjectDetector": classifier(
            "RetinaNetObjectDetector", "RetinaNet", pre_logits_num_conv_layers=1, **boxes
        ),
    }


class Handed(keras.Model):
    """The graph of a detector with the methods of the detector: docs/how-to/own_class.md."""

    task: Any = None

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        **more: Any,
    ) -> Any:
        """The detector's loss."""
        return self.task.compute_loss(x, y, y_pred, sample_weight, **more)

    def predict_step(self, data: Any) -> Any:
        """The boxes that the detector makes of the outputs."""
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        return self.task.decode_predictions(self(x, training=False), x)


def handed_on(task: keras.Model) -> keras.Model:
    """A model of the graph of a detector, which keeps the detector's methods when it is pruned."""
    Handed.task = task
    model = Handed(task.input, task.output, name=task.name)
    model.compile("adam")
    return model


def use(model: keras.Model, images: np.ndarray) -> dict[str, str]:
    """Fits a task for a step, evaluates, predicts, saves and loads it.

    Args:
        model: A compiled model.
        images: Array [images, height, width, 3].

    Returns:
        Dict that maps each of these to "yes" or to what went wrong.
    """
    labels = _labels(model, len(images))
    found = {}

    def tried(name: str, function: Callable[[], bool]) -> None:
        try:
            found[name] = "yes" if function() else "NO"
        except Exception as error:  # whatever a class of the library does
            last = str(error).strip().splitlines()[-1:] or [""]
            found[name] = f"{type(error).__name__}: {last[0]}"[:300]

    def finite(x: Any) -> bool:
        return all(np.isfinite(value).all() for value in keras.tree.flatten(x))

    def loaded() -> bool:
        with tempfile.TemporaryDirectory() as folder:
            model.save(f"{folder}/model.keras")
            again = keras.models.load_model(
                f"{folder}/model.keras", custom_objects={"Handed": Handed}
            )
        pairs = zip(
            keras.tree.flatten(again.predict(images, verbose=0)),
            keras.tree.flatten(model.predict(images, verbose=0)),
            strict=True,
        )
        return type(again) is type(model) and all(np.array_equal(x, y) for x, y in pairs)

    tried("fit", lambda: finite(model.fit(images, labels, verbose=0).history))
    tried("evaluate", lambda: finite(model.evaluate(images, labels, verbose=0)))
    tried("predict", lambda: finite(model.predict(images, verbose=0)))
    tried("save and load", loaded)
    return found


def _labels(model: keras.Model, count: int) -> Any:
    """Random labels of the kind that a task takes."""
    random, outputs = np.random.default_rng(0), model.output
    if isinstance(outputs, dict) and "depths" in outputs:
        shape = (count, *outputs["depths"].shape[1:])
        return {"depths": random.uniform(0.1, 0.9, shape).astype("float32")}
    if isinstance(outputs, dict):
        boxes = np.sort(random.uniform(0, 1, (count, 2, 4)).astype("float32"), axis=-1)
        return {"boxes": boxes, "labels": random.integers(0, 3, (count, 2))}
    if len(outputs.shape) == 2:
        return random.integers(0, outputs.shape[-1], count)
    return random.integers(0, 2, (count, *outputs.shape[1:])).astype("float32")
