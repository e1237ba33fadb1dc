"""Files that are made to run code, to fill the memory or to end the process."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile

import keras
import numpy as np

from tests.attacks.damages import DAMAGES, generator
from tests.attacks.tally import require
from tests.search.small_search import network
from tfrcp import files, models
from tfrcp.models.saved import load_keras
from tfrcp.search.architecture import VERSION, ArchitectureSpec


class _Opens:
    """Makes a file where it is unpickled."""

    def __init__(self, canary):
        self.canary = str(canary)

    def __reduce__(self):
        return os.mkdir, (self.canary,)


def _config(layer, module="keras.layers", **config):
    return {
        "module": module,
        "class_name": layer,
        "config": config,
        "registered_name": None,
        "build_config": {"input_shape": [None, 3]},
    }


def _keras_files(canary):
    """Contents of config.json of .keras files."""
    call = [str(canary)]
    yield _config("mkdir", "os", path=call[0])
    yield _config("eval", "builtins", source=f"__import__('os').mkdir({call[0]!r})")
    yield _config("function", "builtins", args=call)
    code = {"class_name": "__lambda__", "config": {"code": "4wEAAAA=", "defaults": None}}
    yield _config("Sequential", "keras", layers=[_config("Lambda", function=code)])
    yield _config("Sequential", "keras", layers=[_config("Dense", units=10**15)])
    yield _config("Sequential", "keras", layers=[_config("Dense", units=-1)])
    yield _config("Functional", "keras.src.models.functional", layers=3)
    yield "[" * 100_000
    yield '{"a":' * 100_000
    yield ""
    yield "null"
    yield "\x00\xff"


def _keras_archive(path, config):
    text = config if isinstance(config, str) else json.dumps(config)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": keras.__version__}))
        archive.writestr("config.json", text)
        archive.writestr("model.weights.h5", b"\x89HDF\r\n\x1a\n" + bytes(64))
        archive.writestr("../../escaped", b"x")


def _npz_files(canary):
    def npy(header, body=b""):
        text = header.encode() + b" " * 40 + b"\n"
        return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body

    yield npy("{'descr': '<f4', 'fortran_order': False, 'shape': (100000000000,), }")
    yield npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", bytes(4))
    yield npy(
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", pickle.dumps(_Opens(canary))
    )
    yield npy("__import__('os').mkdir('x')")
    yield npy("{" * 60)
    yield b"\x93NUMPY\x09\x09" + bytes(100)
    yield pickle.dumps(_Opens(canary))
    yield b""


def _channels_files():
    sound = {
        "version": VERSION,
        "channels": {"stem": 4},
        "model": {"name": "resnet20", "input_shape": [8, 8, 3], "classes": 3},
    }
    yield "[" * 100_000
    yield '{"channels": ' * 100_000
    yield "\x00"
    widths = dict.fromkeys(models.full_channels("resnet8"), 10**9)
    small = {"name": "resnet8", "input_shape": [8, 8, 3], "classes": 3}
    for change in (
        {"channels": widths, "model": small},
        {"channels": dict.fromkeys(widths, 10**6), "model": small},
        {"channels": dict.fromkeys(widths, 8), "model": small | {"classes": 10**12}},
        {"channels": {"stem": 10**30}},
        {"channels": {"stem": -1}},
        {"channels": {"stem": True}},
        {"channels": []},
        {"version": "x" * 10**6},
        {"version": [1]},
        {"model": 3},
        {"model": {"name": "os.system", "input_shape": [1]}},
        {"model": {"name": "__builtins__", "input_shape": [1]}},
        {"model": {"name": ["resnet20"], "input_shape": [8, 8, 3]}},
        {"model": {"name": "resnet20", "input_shape": "abc"}},
        {"model": {"name": "resnet20", "input_shape": [8, 8, 3], "classes": "many"}},
        {"model": {"name": "resnet20", "input_shape": [8, 8, 3], "options": {"x": 1}}},
        {"model": {"name": "resnet20", "input_shape": [8, 8, 3], "options": [1]}},
        {"model": {"name": "resnet20", "input_shape": [8, 8, -3], "classes": 3}},
        {"model": {"name": "resnet20", "input_shape": [8, 8, 3], "classes": -3}},
    ):
        yield json.dumps(sound | change)


def made_to_harm(tally, seed, folder):
    """All of them, then sound files with random damage."""
    canary = folder / "canary"
    cases = []
    for index, config in enumerate(_keras_files(canary)):
        path = folder / f"{index}.keras"
        _keras_archive(path, config)
        cases.append((f".keras {index}", path, load_keras))
    for index, content in enumerate(_npz_files(canary)):
        path = folder / f"{index}.npz"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x_train.npy", content)
        cases.append((f".npz {index}", path, files.read_npz))
    for index, content in enumerate(_channels_files()):
        path = folder / f"{index}.json"
        path.write_text(content)
        cases.append((f"channels.json {index}", path, _build))
    for index, content in enumerate((b"", b"\x89HDF\r\n\x1a\n" + bytes(2000))):
        path = folder / f"{index}.h5"
        path.write_bytes(content)
        cases.append((f".h5 {index}", path, _imagenet))
    network().save(folder / "sound.keras")
    arrays = io.BytesIO()
    np.savez_compressed(arrays, x=np.arange(1000.0), y=np.arange(9))
    (folder / "sound.npz").write_bytes(arrays.getvalue())
    for number in tally:
        if number < len(cases):
            what, path, read = cases[number]
        else:
            kind, read = (("keras", load_keras), ("npz", files.read_npz))[number % 2]
            random = generator(seed, number)
            path, what = folder / f"damaged.{kind}", f"damaged .{kind}, seed {seed}, {number}"
            path.write_bytes((folder / f"sound.{kind}").read_bytes())
            DAMAGES[random.integers(len(DAMAGES))](path, random)

        def attempt(path=path, read=read):
            try:
                read(path)
            finally:
                require(not canary.exists(), "it ran code")
                require(not list(folder.parent.glob("escaped")), "it wrote elsewhere")

        tally.count(what, attempt)


def _build(path):
    ArchitectureSpec.read(path).build()
    require(False, "a network was built")


def _imagenet(path):
    model = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Dense(1000)])
    models.load_imagenet_weights(model, "mobilenet", weights=path)
    require(False, "weights were loaded")
