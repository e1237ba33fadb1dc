"""Did it really get faster? Two networks pruned at random to half, in every runtime.

ResNet-56 in its CIFAR form and MobileNetV2 at a small input are pruned at random to a share of
their MACs, with free channel counts and with multiples of 8. Unpruned and pruned they are
written as SavedModel, LiteRT (float32 and int8) and ONNX; every file is loaded by plain TensorFlow,
ai-edge-litert or onnxruntime in a process without tfrcp; sizes and times are compared.

The images are scikit-learn's digits, enlarged; with `--epochs=0` the networks keep random weights,
but for recalibrated batch norms and a last layer that is fitted by least squares.

python benchmarks/deployment.py [--networks=resnet56,mobilenet_v2] [--batch_size=16] [--epochs=0]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from common import write

ALONE = """
import json, sys
import numpy as np
images = np.load("images.npy")
for path in json.load(open("files.json")):
    if path.endswith(".tflite"):
        from ai_edge_litert.interpreter import Interpreter
        runner = Interpreter(path).get_signature_runner("serving_default")
        (outputs,) = runner(image=images).values()
    elif path.endswith(".onnx"):
        import onnxruntime
        (outputs,) = onnxruntime.InferenceSession(path).run(None, {"image": images})
    else:
        import tensorflow as tf
        loaded = tf.saved_model.load(path)
        (outputs,) = loaded.signatures["serving_default"](image=tf.constant(images)).values()
    np.save(path + ".npy", np.asarray(outputs))
assert "tfrcp" not in sys.modules
"""
KINDS = ("tf_saved_model", "litert", "litert_int8", "onnx")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", default="resnet56,mobilenet_v2")
    parser.add_argument("--size", type=int, default=32, help="height and width of the images")
    parser.add_argument("--flops", type=float, default=0.5)
    parser.add_argument("--divisors", default="1,8")
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=0)
    parser.add_argument("--out", default="runs/benchmarks", help="folder of the results")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    results = {}
    for name in arguments.networks.split(","):
        results[name] = _network(name, arguments)
        write(arguments, "deployment", {"networks": results})


def _network(name: str, arguments: argparse.Namespace) -> dict:
    """One network, unpruned and pruned with every divisor."""
    import tfrcp

    train, test = _digits(arguments.size)
    shape = train[0].shape[1:]
    variants = {"unpruned": getattr(tfrcp.models, name)(shape, 10, seed=arguments.seed)}
    graph = tfrcp.trace(variants["unpruned"])
    cost = tfrcp.CostModel(graph)
    shares = {"unpruned": 1.0}
    for divisor in map(int, arguments.divisors.split(",")):
        space = tfrcp.SearchSpace(graph, divisor=divisor)
        budget = tfrcp.Budget(arguments.flops, tolerance=0.01)
        (channels,) = tfrcp.search.RandomSampler(space, cost, budget, arguments.seed).suggest(1)
        scores = tfrcp.criteria.get("l1")(variants["unpruned"], graph)
        masks = tfrcp.select(graph, scores, channels)
        variant = f"divisor {divisor}"
        variants[variant] = tfrcp.slice_model(variants["unpruned"], graph, masks)
        shares[variant] = float(cost(channels).flops[0] / cost.full.flops)
    with tempfile.TemporaryDirectory() as folder:
        files: dict[str, dict[str, dict]] = {variant: {} for variant in variants}
        for variant, model in variants.items():
            _fit(model, train, arguments)
            files[variant] = _export(model, Path(folder, variant), train, test)
        _load_elsewhere(Path(folder), files, variants, test)
        for kind in KINDS:
            _time(kind, files, test[0], arguments)
        return _table(name, shares, files)


def _digits(size: int) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Digits, enlarged to `size` by repeating pixels, in one channel: training and test images."""
    from tfrcp.data import load

    splits = load("digits")
    large = lambda x: x.repeat(size // 8, axis=1).repeat(size // 8, axis=2)  # noqa: E731
    (x, y), (u, v) = splits.train.arrays(), splits.test.arrays()
    return (large(x), y), (large(u), v)


def _fit(model, train, arguments: argparse.Namespace) -> None:
    """Gives the network something to say about digits."""
    import keras

    import tfrcp

    if arguments.epochs:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(3e-3), loss)
        model.fit(*train, batch_size=64, epochs=arguments.epochs, verbose=2)
    tfrcp.recalibrate_batch_norm(model, train[0][:512])
    if not arguments.epochs:
        last = model.layers[-1]
        features = keras.Model(model.input, last.input).predict(train[0], verbose=0)
        wide = np.c_[features, np.ones(len(features))]
        ridge = 1e-3 * len(wide) * np.eye(wide.shape[1]) * np.mean(wide**2)
        targets = np.eye(10)[train[1]]
        weights = np.linalg.solve(wide.T @ wide + ridge, wide.T @ targets)
        last.set_weights([weights[:-1], weights[-1]])


def _export(model, folder: Path, train, test) -> dict[str, dict]:
    """Writes every file: its path, size, agreement and accuracy."""
    import tfrcp

    folder.mkdir()
    found = {}
    for name in KINDS:
        kind = tfrcp.deployment.KINDS[name]
        start = time.perf_counter()
        done = tfrcp.export(
            model,
            folder / kind.file,
            kind.format,
            quantization=kind.quantization,
            calibration=train[0][:256] if kind.quantization == "int8" else None,
            sample=test[0],
            labels=test[1],
            accuracy_tolerance=1.0,  # reported below
        )
        found[name] = {
            "path": str(done.path),
            "bytes": done.bytes,
            "model_accuracy": done.model_accuracy,
            "accuracy": done.accuracy,
            "seconds": time.perf_counter() - start,
        }
    return found


def _load_elsewhere(folder: Path, files, variants, test) -> None:
    """Runs every file in a process without tfrcp; sets its difference to the Keras model there."""
    np.save(folder / "images.npy", test[0])
    paths = [file["path"] for kinds in files.values() for file in kinds.values()]
    (folder / "files.json").write_text(json.dumps(paths))
    (folder / "alone.py").write_text(ALONE)
    done = subprocess.run([sys.executable, "alone.py"], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"The files cannot be run without tfrcp: {done.stderr[-500:]}")
    for variant, kinds in files.items():
        expected = variants[variant].predict(test[0], batch_size=64, verbose=0)
        scale = 1 + np.abs(expected).max()
        for file in kinds.values():
            outputs = np.load(file["path"] + ".npy")
            file["difference"] = float(np.abs(outputs - expected).max() / scale)
            file["alone_accuracy"] = float((outputs.argmax(axis=1) == test[1]).mean())


def _time(kind: str, files, images: np.ndarray, arguments: argparse.Namespace) -> None:
    """Times the variants of one kind of file, taking turns."""
    from tfrcp.deployment import latency

    options = {"batch_size": arguments.batch_size, "threads": arguments.threads}
    paths = {variant: kinds[kind]["path"] for variant, kinds in files.items()}
    times = latency.measure(paths, images, repeats=arguments.repeats, **options)
    for variant, measured in times.items():
        ratio = latency.ratio(measured, times["unpruned"])
        files[variant][kind] |= {
            "latency_ms": measured.median,
            "spread_ms": measured.spread,
            "runtime": measured.runtime,
            "ratio": [ratio.ratio, ratio.low, ratio.high],
            "peak_memory": latency.peak_memory(paths[variant], images, **options),
        }


def _table(name: str, shares: dict[str, float], files) -> dict:
    """Prints the figures side by side; returns them."""
    print(
        f"\n{name}\n{'file':<16}{'network':<12}{'MACs':>14}{'kB':>8}{'ratio':>7}"
        f"{'ms/image':>10}{'time':>7}{'95 % interval':>16}{'realised':>9}{'MB':>6}"
        f"{'difference':>12}{'accuracy':>10}{'Keras':>8}"
    )
    verdicts = []
    for kind in KINDS:
        for variant, share in shares.items():
            file, whole = files[variant][kind], files["unpruned"][kind]
            ratio, low, high = file["ratio"]
            file["arrives"] = (1 - ratio) / (1 - share) if share < 1 else None
            realised = "" if share == 1 else f"{100 * file['arrives']:.0f} %"
            print(
                f"{kind:<16}{variant:<12}{share:>14.3f}{file['bytes'] / 1000:>8.0f}"
                f"{file['bytes'] / whole['bytes']:>7.2f}{file['latency_ms']:>10.3f}{ratio:>7.2f}"
                f"{f'{low:.2f} to {high:.2f}':>16}{realised:>9}{file['peak_memory'] / 1e6:>6.0f}"
                f"{file['difference']:>12.1e}{100 * file['accuracy']:>8.1f} %"
                f"{100 * file['model_accuracy']:>6.1f} %",
                flush=True,
            )
            if share < 1:
                verdicts.append((file["arrives"], f"{kind} with {variant}"))
    best, where = max(verdicts)
    saved = "at least" if best >= 0.8 else "less than"
    print(
        f"At best, in {where}, {100 * best:.0f} % of the saving in MACs are realised as speed-up: "
        f"{saved} four fifths."
    )
    return {"flops": shares, "files": files, "best": {"arrives": best, "where": where}}


if __name__ == "__main__":
    main()
