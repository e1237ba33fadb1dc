"""What the pictures show, and that nothing in them is hidden."""

import matplotlib
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from tests.run.report.made_up import DRAWS, made_up
from tfrcp.run.report import candidates, drawing


def overlaps(figure):
    """Pairs of texts that are drawn over each other."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    texts = [text for text in figure.get_children() if isinstance(text, Text)]
    for axes in figure.axes:
        texts += [text for text in axes.get_children() if isinstance(text, Text)]
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            texts += [axis.label, *(tick.label1 for tick in ticks if tick.label1.get_visible())]
    texts = [text for text in texts if text.get_text()]
    boxes = [Text.get_window_extent(text, renderer) for text in texts]
    return [
        (texts[i].get_text(), texts[j].get_text())
        for i in range(len(texts))
        for j in range(i)
        if boxes[i].overlaps(boxes[j])
    ]


@pytest.mark.parametrize(
    "metrics",
    [
        made_up(),
        made_up(groups=55, trials=1000),
        made_up(groups=110, trials=50, name="a_rather_long_name_{}_of_a_layer_in_a_nested_model"),
        made_up(groups=1, trials=1),
        made_up(spread=0.002, center=0.3),
        made_up(spread=0.0),
        made_up(center=0.965, spread=0.002),
    ],
    ids=["12", "55", "110", "one", "narrow", "all the same", "near the baseline"],
)
def test_nothing_is_clipped_or_drawn_over_each_other(metrics):
    with matplotlib.style.context(["default", drawing.STYLE]):
        for draw in DRAWS:
            figure = draw(metrics)
            if figure is None:
                continue
            figure.draw_without_rendering()
            box, whole = figure.get_tightbbox(), figure.bbox_inches
            assert box.x0 >= whole.x0 and box.x1 <= whole.x1, draw.__name__
            assert box.y0 >= whole.y0 and box.y1 <= whole.y1, draw.__name__
            assert not overlaps(figure), draw.__name__


def test_scores_mark_winner_median_and_baseline():
    metrics = made_up()
    (axes,) = candidates.scores(metrics).axes
    best = max(trial["score"] for trial in metrics["search"]["trials"])
    words = " ".join(text.get_text() for text in axes.texts)
    assert "median" in words and f"winner {100 * best:.1f} %" in words
    assert "unpruned 97.0 %" in words
    assert sum(bar.get_height() for bar in axes.patches) == 20


def test_a_baseline_far_from_narrow_scores_is_pointed_at():
    (axes,) = candidates.scores(made_up(center=0.3, spread=0.002)).axes
    assert axes.get_xlim()[1] < 0.5
    assert any("unpruned 97.0 % \N{RIGHTWARDS ARROW}" in text.get_text() for text in axes.texts)


def test_cloud_and_baseline_have_a_panel_each():
    whole, near = candidates.accuracy_flops(made_up()).axes
    assert whole.get_xlim()[0] == 0.0 and whole.get_xlim()[1] > 1.0
    assert near.get_xlim()[0] > 0.49 and near.get_xlim()[1] < 0.51
