"""The page of a run from scratch."""

import json

from tests.run.report.made_up import DRAWS, made_up
from tfrcp.run import report
from tfrcp.run.report import network


def from_scratch():
    """Metrics as a run from scratch leaves them, with groups wider than the original ones."""
    metrics = made_up()
    roles = ("largest", "smallest", "random")
    curve = [0.1, 0.5, 0.9]
    history = {f"{role}_{kind}": curve for role in roles for kind in ("loss", "accuracy")}
    metrics["training"] = {
        "supernet": {"history": {"loss": curve, **history}},
        "winner": metrics["training"]["base"],
    }
    metrics["scratch"] = {"random_widths": 2, "inherit": False, "supernet_flops": 90_000_000}
    metrics["results"]["before"]["test_accuracy"] = None
    next(iter(metrics["channels"].values()))["kept"] = 96
    return metrics


def test_a_run_from_scratch_compares_with_no_trained_network(tmp_path):
    metrics = from_scratch()
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    page = report.write(tmp_path).read_text().replace("\N{NO-BREAK SPACE}", " ")
    assert (
        "Found by a search over the weights of a supernet and trained from random weights for 30 "
        "epochs, the network with 50.1 % of the MACs classifies 97.8 % of the 360 test "
        "images correctly."
    ) in page
    assert (
        "3 epochs, at the end with an accuracy of largest 90.0 %, random 90.0 %, smallest 90.0 %."
        in page
    )
    assert "a supernet of 90 M MACs" in page
    for word in ("finetune", "Fine-tuning", "fine-tuned", "npruned network scores"):
        assert word not in page
    assert sorted(path.stem for path in (tmp_path / "plots").iterdir()) == sorted(
        draw.__name__ for draw in DRAWS
    )


def test_widths_of_a_supernet_are_told_apart():
    figure = network.supernet(from_scratch())
    assert [text.get_text() for text in figure.axes[1].get_legend().get_texts()] == [
        "largest",
        "random",
        "smallest",
    ]
    bars = network.channels(from_scratch()).axes[0]
    assert bars.get_xlim()[1] == 1.5
    metrics = from_scratch()
    metrics["training"]["supernet"]["history"]["loss"] = [0.1]
    assert network.supernet(metrics) is None
