"""What each criterion is worth, inside groups and as a ranking: accuracy before any training.

One network. Uniform widths with each criterion inside the groups; and all channels ranked together
by each criterion (`tfrcp.allocation.GlobalRanking`), over all groups and over those that a single
layer makes. Then one reconstruction for all, layer by layer on the same images, and the accuracy on
test images. Criteria that look at images see training images. Nothing is trained and no search is
made, so that the rows differ by the criterion alone.

    python benchmarks/criteria_quality.py --network=resnet20 --data=cifar10_jpeg
        --data_dir=DIR --weights=cifar10_resnet20.npz
        [--flops=0.5,0.3] [--criteria=l1,taylor] [--images=512]

What was measured stands in docs/method.md. What stands in the file of results is not run again.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from common import load_splits, network, parser, write

CRITERIA = (
    *("random", "l1", "l2", "l1:scope=folded", "l2:scope=folded", "l1:scope=group"),
    *("l2:scope=group", "geometric_median", "batch_norm_scale", "group_lasso"),
    *(
        "taylor:images=512",
        "empirical_sensitivity",
        "empirical_sensitivity:products=largest",
        "kl_divergence",
    ),
)
# Rankings, beside those of normalised scores, for criteria whose scores compare between layers.
AS_THEY_ARE = ("batch_norm_scale", "group_lasso", "taylor", "kl_divergence")
RANKINGS = {
    "uniform": {},  # no ranking: the same share in every group, the criterion inside
    "all": {},
    "inner": {"groups": "inner"},
    "all, as they are": {"normalize": False},
    "all, per MAC": {"normalize": False, "cost_power": 1.0},
}


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--flops", default="0.5,0.3", help="shares of the MACs")
    arguments.add_argument("--criteria", default=",".join(CRITERIA), help="joined by commas")
    arguments.add_argument("--rankings", default="; ".join(RANKINGS), help="joined by semicolons")
    arguments.add_argument("--images", type=int, default=512, help="that reconstruct")
    arguments.add_argument("--test_images", type=int, default=3000)
    arguments = arguments.parse_args()
    study = Study(arguments)
    print(f"unpruned: {study.tested(study.model):.1%} of the test images", flush=True)
    name = f"criteria_quality_{arguments.network}"
    file = Path(arguments.out) / f"{name}.json"
    results = json.loads(file.read_text())["results"] if file.exists() else {}
    shares = [float(share) for share in arguments.flops.split(",")]
    for criterion in arguments.criteria.split(","):
        rankings = list(RANKINGS)[: 5 if criterion.split(":")[0] in AS_THEY_ARE else 3]
        rankings = [name for name in rankings if name in arguments.rankings.split("; ")]
        for key in (f"{criterion} | {r} | {s:g}" for r in rankings for s in shares):
            if key not in results:
                results[key] = study.run(*key.split(" | "))
                write(arguments, name, {"results": results})
            print(f"{key:60} {results[key]['accuracy']:.1%}", flush=True)
    print(f"\n{'accuracy in %':60}" + "".join(f"{share:>8g}" for share in shares) + "  CPU s")
    for row in dict.fromkeys(key.rpartition(" | ")[0] for key in results):
        found = [results.get(f"{row} | {share:g}") for share in shares]
        cells = "".join(f"{100 * r['accuracy']:8.1f}" if r else f"{'-':>8}" for r in found)
        seconds = next(r["seconds"] for r in found if r)
        print(f"{row:60}{cells}{seconds:7.1f}")


class Study:
    """The network, its images, and the scores of the criterion at hand."""

    def __init__(self, arguments: Any) -> None:
        import tfrcp

        self.arguments, self.model = arguments, network(arguments)
        splits = load_splits(arguments)
        self.train = splits.train.arrays(max(1024, arguments.images))
        self.test = splits.test.arrays(arguments.test_images)
        self.graph = tfrcp.trace(self.model)
        self.cost, self.space = tfrcp.CostModel(self.graph), tfrcp.SearchSpace(self.graph)
        self._scores: dict[str, tuple[Any, float]] = {}

    def run(self, criterion: str, ranking: str, share: str) -> dict[str, Any]:
        """Accuracy, CPU seconds of the criterion, and kept channels."""
        import tfrcp

        scores, seconds = self.scores(criterion)
        kind = tfrcp.allocation.GlobalRanking if ranking != "uniform" else tfrcp.allocation.Uniform
        allocation = kind(**RANKINGS[ranking])
        budget = tfrcp.Budget(float(share))
        channels = allocation(self.graph, scores, self.space, self.cost, budget)
        masks = tfrcp.select(self.graph, scores, channels)
        model = tfrcp.slice_model(self.model, self.graph, masks)
        images = self.train[0][: self.arguments.images]
        tfrcp.reconstruct(model, self.model, self.graph, masks, images, verbose=False)
        tfrcp.recalibrate_batch_norm(model, images)
        accuracy = self.tested(model)
        return {"accuracy": accuracy, "seconds": seconds, "channels": channels.tolist()}

    def scores(self, criterion: str) -> tuple[Any, float]:
        """Scores of all channels, and the CPU seconds that they took."""
        import tfrcp

        if criterion not in self._scores:
            start = time.process_time()
            found = tfrcp.criteria.get(criterion)(self.model, self.graph, self.train)
            self._scores[criterion] = found, time.process_time() - start
        return self._scores[criterion]

    def tested(self, model: Any) -> float:
        """Accuracy on the test images."""
        outputs = model.predict(self.test[0], batch_size=250, verbose=0)
        return float((outputs.argmax(axis=1) == self.test[1].reshape(-1)).mean())


if __name__ == "__main__":
    main()
