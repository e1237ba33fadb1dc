"""Formats that can be tested here."""

import importlib.util

import pytest

QUANTIZED = (None, "float16", "dynamic", "int8")
needs = {
    "litert": pytest.mark.skipif(
        importlib.util.find_spec("ai_edge_litert") is None,
        reason="the extra litert (ai-edge-litert) is not installed",
    ),
    "onnx": pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in ("tf2onnx", "onnx", "onnxruntime")),
        reason="the extra onnx (tf2onnx, onnx, onnxruntime) is not installed",
    ),
}
SUFFIXES = {"tf_saved_model": "", "litert": ".tflite", "onnx": ".onnx"}
every_format = pytest.mark.parametrize(
    "format", ["tf_saved_model", *(pytest.param(name, marks=mark) for name, mark in needs.items())]
)
