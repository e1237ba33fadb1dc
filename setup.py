"""Installs tfrcp, and the folder configs/ as tfrcp.configs."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "tfrcp" / "__init__.py").read_text()).group(1)
SOURCE = ""  # address of the repository, once it is public
PAPER = "https://arxiv.org/abs/2205.05676"

SCIKIT_LEARN = ["scikit-learn>=1.5"]
LITERT = ["ai-edge-litert>=2.3", "keras>=3.13"]  # the first Keras that writes LiteRT
ONNX = ["onnx>=1.23", "onnxruntime>=1.32", "tf2onnx>=1.17"]
TENSORBOARD = ["tensorboard>=2.18"]


def readme() -> str:
    """The README for the package index, which knows no files beside it."""
    text = (ROOT / "README.md").read_text()
    files = f"{SOURCE}/blob/v{VERSION}/" if SOURCE else ""
    pictures = f"{SOURCE}/raw/v{VERSION}/" if SOURCE else ""
    text = re.sub(
        r"!\[(.*?)\]\((?!http)(.+?)\)\n*", rf"![\1]({pictures}\2)" if SOURCE else "", text
    )
    return re.sub(
        r"(?<!!)\[([^]]+)\]\((?!http|#)(.+?)\)", rf"[\1]({files}\2)" if SOURCE else r"\1", text
    )


setup(
    name="tfrcp",
    version=VERSION,
    description="Structured channel pruning for Keras 3: smaller, faster networks under a budget",
    long_description=readme(),
    long_description_content_type="text/markdown",
    author="The tfrcp authors",
    license="Apache-2.0",
    license_files=["LICENSE"],
    keywords="keras tensorflow pruning structured-pruning channel-pruning model-compression litert",
    project_urls={"Paper": PAPER}
    | ({"Source": SOURCE, "Issues": f"{SOURCE}/issues"} if SOURCE else {}),
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "License :: OSI Approved :: Apache Software License",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    # By its name too: only a checkout needs the folder tfrcp/configs/ itself.
    packages=sorted({*find_packages(include=["tfrcp", "tfrcp.*"]), "tfrcp.configs"}),
    package_dir={"tfrcp.configs": "configs"},
    package_data={"tfrcp": ["py.typed", "templates/*.html"]},
    entry_points={"console_scripts": ["tfrcp = tfrcp.cli:main"]},
    python_requires=">=3.11",
    install_requires=[  # tests/oldest.sh tries these lower bounds
        "absl-py>=2.1",
        "importlib_resources>=6.4",  # tensorflow-datasets needs it and does not say so
        "jinja2>=3.1",
        "keras>=3.12",
        "keras-tuner>=1.4.8,<1.5",  # tfrcp/search/distributed.py knows its inside
        "matplotlib>=3.8",
        "ml-collections>=1.0",
        "numpy>=1.26",
        "scipy>=1.17",
        "tensorflow>=2.18",
        "tensorflow-datasets>=4.9.7",
        "threadpoolctl>=3.5",
    ],
    extras_require={
        "docs": ["mkdocs-material>=9.8", "mkdocstrings[python]>=1.0"],
        "examples": [*SCIKIT_LEARN, *LITERT],
        "litert": LITERT,
        "onnx": ONNX,
        "surrogate": SCIKIT_LEARN,
        "tensorboard": TENSORBOARD,
        "test": [
            *SCIKIT_LEARN,
            *LITERT,
            *ONNX,
            "hypothesis>=6.170",
            "ipykernel>=7.0",
            "nbclient>=0.10",
            "pytest>=9.2",
            "pytest-xdist>=3.8",
            "ruff==0.17.6",
        ],
    },
)
