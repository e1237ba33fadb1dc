"""What training with sparsity is worth: accuracy after pruning, before any further training.

A network is trained on scikit-learn's digits without a penalty, with one on the scales of its batch
norms (network slimming) and with a group lasso; then each is pruned by the ranking that belongs to
it (one threshold for the scores as they are), and the plain one by the L1 norm and by the same
scores. Accuracy on the test images after slicing and re-estimating batch norms, and after
reconstruction layer by layer.

    python benchmarks/sparsity.py [--network=resnet20] [--flops=0.3] [--epochs=20]

A row that stands in the file of results is not run
again.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from common import plain_parser, write

RANKINGS = {"batch_norm_scale": False, "group_lasso": False, "l1": True}


def main() -> None:
    arguments = plain_parser(__doc__)
    arguments.add_argument("--network", default="resnet20", help="a CIFAR ResNet in tfrcp.models")
    arguments.add_argument("--flops", type=float, default=0.3, help="share of the multiply-adds")
    arguments.add_argument("--epochs", type=int, default=20)
    arguments.add_argument("--strengths", default="0.001,0.003,0.01", help="joined by commas")
    arguments = arguments.parse_args()
    study = Study(arguments)
    file = Path(arguments.out) / "sparsity.json"
    results = json.loads(file.read_text())["results"] if file.exists() else {}
    trainings = [("", 0.0, tuple(RANKINGS))]
    for kind in ("batch_norm_scale", "group_lasso"):
        trainings += [(kind, float(text), (kind,)) for text in arguments.strengths.split(",")]
    for kind, strength, rankings in trainings:
        key = f"{kind or 'none'} {strength:g}"
        if key not in results:
            results[key] = study.run(kind, strength, rankings)
            write(arguments, "sparsity", {"results": results})
        print(f"{key}: {results[key]}", flush=True)
    print(f"\n{'penalty':24}{'zero':>6}{'whole':>7}  {'ranking':18}{'sliced':>7}{'rebuilt':>8}")
    for key, row in results.items():
        for name, (sliced, rebuilt) in row["pruned"].items():
            shares = f"{100 * row['zero']:6.0f}{100 * row['accuracy']:7.1f}"
            print(f"{key:24}{shares}  {name:18}{100 * sliced:7.1f}{100 * rebuilt:8.1f}")


class Study:
    """The digits, and what is asked."""

    def __init__(self, arguments: Any) -> None:
        from tfrcp.data import load

        self.arguments, self.data = arguments, load("digits")

    def run(self, kind: str, strength: float, rankings: tuple[str, ...]) -> dict[str, Any]:
        """A training, and what is left of it in pruned networks."""
        import tfrcp
        from tfrcp.training import Recipe, fit

        start, arguments = time.process_time(), self.arguments
        builder = getattr(tfrcp.models, arguments.network)
        model = builder(input_shape=(8, 8, 1), classes=10, seed=arguments.seed)
        recipe = Recipe(
            epochs=arguments.epochs,
            batch_size=64,
            warmup_epochs=2,
            sparsity=kind,
            sparsity_strength=strength,
        )
        history = fit(
            model,
            lambda epoch: self.data.train.batches(
                64, shuffle=True, augment="shift", seed=arguments.seed, epoch=epoch
            ),
            None,
            recipe,
            verbose=False,
        )
        found: dict[str, Any] = {"accuracy": self.tested(model)}
        found["zero"] = history["sparsity"][-1] if kind else 0.0
        found["pruned"] = {name: self.pruned(model, name) for name in rankings}
        return {**found, "seconds": time.process_time() - start}

    def pruned(self, model: Any, criterion: str) -> tuple[float, float]:
        """Accuracies of the pruned network: sliced, and reconstructed layer by layer."""
        import tfrcp

        graph, images = tfrcp.trace(model), self.data.train.arrays(512)[0]
        scores = tfrcp.criteria.get(criterion)(model, graph)
        ranking = tfrcp.allocation.GlobalRanking(normalize=RANKINGS[criterion])
        cost, space = tfrcp.CostModel(graph), tfrcp.SearchSpace(graph)
        budget = tfrcp.Budget(self.arguments.flops)
        masks = tfrcp.select(graph, scores, ranking(graph, scores, space, cost, budget))
        small = tfrcp.slice_model(model, graph, masks)
        tfrcp.recalibrate_batch_norm(small, images)
        sliced = self.tested(small)
        small = tfrcp.slice_model(model, graph, masks)
        tfrcp.reconstruct(small, model, graph, masks, images, verbose=False)
        tfrcp.recalibrate_batch_norm(small, images)
        return sliced, self.tested(small)

    def tested(self, model: Any) -> float:
        """Accuracy on the test images."""
        x, y = self.data.test.arrays()
        outputs = model.predict(x, batch_size=250, verbose=0)
        return float((outputs.argmax(axis=1) == y.reshape(-1)).mean())


if __name__ == "__main__":
    main()
