"""What a report says of a run."""

import pytest

from tests.run.report.made_up import made_up
from tfrcp.run import report
from tfrcp.run.report import comparison, network, page, summary


def test_headline_says_what_came_out():
    assert summary.headline(made_up()) == (
        "Pruned to 50.1 % of the MACs and fine-tuned for 5 epochs, the network classifies "
        "97.8 % of the 360 test images correctly; unpruned it was 98.1 %, a loss of 0.3 points."
    )


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (0.991, "a gain of 1.0 points"),
        (0.9812, "the same within 0.1 points"),
        (0.9, "a loss of 8.1 points"),
    ],
)
def test_headline_tells_loss_from_gain(after, words):
    metrics = made_up()
    metrics["results"]["after"]["test_accuracy"] = after
    assert words in summary.headline(metrics)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.5, 0.99, "1.7 times faster"),
        (0.9, 1.1, "Not measurably faster"),
        (1.01, 1.3, "15 % slower"),
    ],
)
def test_says_plainly_when_it_is_not_faster(low, high, verdict):
    metrics = made_up()
    ratio = 0.6 if high < 1 else 1.15 if low > 1 else 1.0
    metrics["results"]["latency_ratio"].update(ratio=ratio, low=low, high=high)
    for text in (page.html(metrics, {}), report.table(metrics)):
        assert verdict in text.replace("\N{NO-BREAK SPACE}", " ")


def test_headline_after_the_search_and_before():
    metrics = made_up()
    del metrics["results"], metrics["training"]
    text = summary.headline(metrics)
    assert "The best of 20 candidates" in text and "not been fine-tuned" in text
    assert "Nothing" in summary.headline({})


def test_an_absolute_target_is_the_same_budget():
    metrics = made_up()
    metrics["budget"]["flops_target"] = 20_000_000
    assert summary.budget_window(metrics) == summary.budget_window(made_up()) == "50.0 % ± 0.5 %"


def test_one_epoch_is_a_sentence_and_no_curve():
    metrics = made_up()
    history = metrics["training"].pop("base") and metrics["training"]["finetune"]["history"]
    for key in history:
        history[key] = history[key][:1]
    assert network.training(metrics) is None
    assert summary.trainings(metrics) == [
        "Fine-tuning of the winner: 1 epoch, at the end 10.0 % accuracy on the training images and "
        "9.0 % accuracy on the holdout images."
    ]


def segmentation():
    metrics = made_up()
    metrics["objective"] = {"name": "val_mean_io_u", "label": "mean IoU", "direction": "max"}
    metrics["search"]["objective"] = "val_mean_io_u"
    for when, value in (("before", 0.731), ("after", 0.702)):
        del metrics["results"][when]["test_accuracy"]
        metrics["results"][when]["test_mean_io_u"] = value
    return metrics


def test_another_job_is_reported_by_its_objective():
    metrics = segmentation()
    assert summary.headline(metrics).startswith(
        "Pruned to 50.1 % of the MACs and fine-tuned for 5 epochs, the network reaches "
        "0.702 mean IoU (higher is better) on the 360 test images; unpruned it was 0.731."
    )
    (row,) = [row for row in comparison.rows(metrics) if row[0] == "test mean IoU"]
    assert row == ("test mean IoU", "0.731", "0.702", "0.960")


def test_a_loss_is_better_when_it_is_lower():
    metrics = segmentation()
    metrics["objective"] = {"name": "val_loss", "label": "loss", "direction": "min"}
    metrics["results"]["after"]["test_loss"] = 0.25
    assert "reaches 0.25 loss (lower is better)" in summary.headline(metrics)


def test_a_classifier_that_was_searched_by_its_loss_shows_both():
    metrics = made_up()
    metrics["search"]["objective"] = "val_loss"
    metrics["results"]["before"]["test_loss"], metrics["results"]["after"]["test_loss"] = 0.1, 0.2
    labels = [row[0] for row in comparison.rows(metrics)]
    assert labels[:2] == ["test accuracy", "test loss"]


def test_the_verdict_comes_first_on_page_and_table():
    metrics = made_up()
    metrics["results"]["score_changes"] = {"test_accuracy": {"low": -0.011, "high": 0.005}}
    sentence = (
        "1.7 times faster (1.6 to 1.8) in TensorFlow, 1.8 times smaller, accuracy unchanged within "
        "the test set's error, -0.3 points (-1.1 to +0.5)."
    )
    assert comparison.lead(metrics) == report.table(metrics).splitlines()[0] == sentence
    text = page.html(metrics, {}).replace("\N{NO-BREAK SPACE}", " ")
    assert text.index(sentence.replace("'", "&#39;")) < text.index("Pruned to 50.1 %")
    metrics["export"] = {
        "tf_saved_model": {"latency_ratio": dict(ratio=0.4, low=0.3, high=0.5)},
        "litert": {
            "title": "LiteRT float32",
            "before": dict(bytes=900_000, latency_ms=0.2, accuracy=0.98),
            "after": dict(bytes=300_000, latency_ms=0.11, accuracy=0.97),
            "latency_ratio": dict(ratio=0.79, low=0.75, high=0.83, batch_size=64, device="CPU"),
        },
    }
    start = "27 % faster (20 to 33) in LiteRT float32, 3.0 times smaller, accuracy"
    assert comparison.lead(metrics).startswith(start)
    for gone in ("results", "data"):
        assert gone == "data" or comparison.lead({**metrics, gone: {}}) == ""


def test_a_verdict_without_errors_and_times_claims_neither():
    metrics = segmentation()
    del metrics["results"]["latency_ratio"]
    assert comparison.lead(metrics) == (
        "2.0 times fewer MACs, 1.8 times smaller, mean IoU 0.731 before and 0.702 after on the "
        "test set."
    )
