"""Installs tfrcp. The lower bounds are the versions that it was tested with."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "tfrcp" / "__init__.py").read_text()).group(1)
SCIKIT_LEARN = ["scikit-learn>=1.9"]
LITERT = ["ai-edge-litert>=2.3"]
ONNX = ["onnx>=1.23", "onnxruntime>=1.32", "tf2onnx>=1.17"]

setup(
    name="tfrcp",
    version=VERSION,
    description="Structured channel pruning for Keras 3 by random search under a FLOP budget",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["tfrcp", "tfrcp.*"]),
    package_data={"tfrcp": ["py.typed"]},
    python_requires=">=3.11",
    install_requires=[
        "absl-py>=2.5",
        "importlib_resources>=7.1",  # tensorflow-datasets needs it and does not say so
        "keras>=3.15",
        "keras-tuner>=1.4.8,<1.5",  # tfrcp/search/distributed.py knows its inside
        "matplotlib>=3.11",
        "ml-collections>=1.1",
        "numpy>=2.4",
        "tensorflow>=2.21",
        "tensorflow-datasets>=4.9.10",
        "threadpoolctl>=3.6",
    ],
    extras_require={
        "examples": SCIKIT_LEARN,
        "litert": LITERT,
        "onnx": ONNX,
        "surrogate": SCIKIT_LEARN,
        "tensorboard": ["tensorboard>=2.21"],
        "test": [
            *SCIKIT_LEARN,
            "hypothesis>=6.170",
            "pytest>=9.2",
            "pytest-xdist>=3.8",
            "ruff==0.17.6",
        ],
    },
)
