"""The search space and the budget."""

import json

import keras
import numpy as np
import pytest

import tfrcp
from tests.networks import NETWORKS, conv, image


@pytest.fixture(scope="module")
def graph():
    return tfrcp.trace(NETWORKS["residual_a"].build())  # sizes 4, 5, 3, 6


def test_defaults(graph):
    space = tfrcp.SearchSpace(graph)
    assert [group.name for group in graph.prunable] == [
        "stem_conv",
        "one_conv",
        "two",
        "three_conv",
    ]
    assert [choice.tolist() for choice in space.choices] == [
        [1, 2, 3, 4],
        [1, 2, 3, 4, 5],
        [1, 2, 3],
        [1, 2, 3, 4, 5, 6],
    ]
    assert space.smallest.tolist() == [1, 1, 1, 1]
    assert space.largest.tolist() == graph.full.tolist()
    assert space.size == 4 * 5 * 3 * 6
    assert all(choice.dtype == np.int64 for choice in space.choices)


def test_ratios(graph):
    space = tfrcp.SearchSpace(graph, min_ratio=0.5, max_ratio=0.75)
    assert [choice.tolist() for choice in space.choices] == [[2, 3], [3], [2], [3, 4]]


@pytest.mark.parametrize(("ratio", "least"), [(0.1, 2), (0.15, 3), (0.3, 6), (0.7, 14)])
def test_least_count_is_not_off_by_rounding(ratio, least):
    inputs = image()
    graph = tfrcp.trace(keras.Model(inputs, conv(3, "head")(conv(20, "a")(inputs))))
    assert tfrcp.SearchSpace(graph, min_ratio=ratio).smallest.tolist() == [least]


def test_divisor_keeps_the_full_size(graph):
    space = tfrcp.SearchSpace(graph, divisor=2)
    assert [choice.tolist() for choice in space.choices] == [[2, 4], [2, 4, 5], [2, 3], [2, 4, 6]]


def test_fixed_groups_keep_all(graph):
    space = tfrcp.SearchSpace(graph, fixed=["two", "stem_conv"])
    assert [choice.tolist() for choice in space.choices][0::2] == [[4], [3]]
    assert space.size == 5 * 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min_ratio": 0}, "0 < min_ratio.*Received: min_ratio=0,"),
        ({"min_ratio": -0.1}, "Received: min_ratio=-0.1"),
        ({"max_ratio": 1.5}, "Received: min_ratio=0.1, max_ratio=1.5"),
        ({"min_ratio": 0.6, "max_ratio": 0.5}, "Received: min_ratio=0.6, max_ratio=0.5"),
        ({"min_ratio": float("nan")}, "Received: min_ratio=nan"),
        ({"divisor": 0}, "`divisor` must be an int of at least 1. Received: divisor=0"),
        ({"divisor": 1.5}, "`divisor` must be.*divisor=1.5"),
        ({"divisor": True}, "`divisor` must be.*divisor=True"),
        ({"divisor": "8"}, "`divisor` must be.*divisor='8'"),
        ({"fixed": "stem_conv"}, "`fixed` must be a sequence.*'stem_conv'"),
        (
            {"fixed": ["nothing"]},
            r"no prunable group.*'stem_conv', 'one_conv'.*Received: 'nothing'",
        ),
        ({"fixed": ["head"]}, "no prunable group.*Received: 'head'"),
        ({"min_ratio": 0.5, "max_ratio": {"two": 0.4}}, "min_ratio=0.5, max_ratio=0.4"),
        ({"max_ratio": {"nothing*": 0.5}}, r"no prunable group.*Received: 'nothing\*'"),
        ({"divisor": {"two": 0}}, "`divisor` must be.*divisor=0"),
        ({"max_ratio": float("inf"), "from_scratch": True}, "max_ratio=inf"),
        ({"tied": "stem_conv"}, "`tied` must be a sequence.*'stem_conv'"),
        ({"tied": ["nothing"]}, "no prunable group.*Received: 'nothing'"),
        ({"tied": ["*_conv", "one*"]}, "'one_conv' is in two ties"),
        (
            {"divisor": 4, "max_ratio": 0.7},
            r"No multiple of 4 lies in \[1, 2\].*'stem_conv'.*`fixed`",
        ),
    ],
)
def test_bad_spaces(graph, arguments, message):
    with pytest.raises(ValueError, match=message):
        tfrcp.SearchSpace(graph, **arguments)


@pytest.mark.parametrize(
    "arguments", [{"divisor": None}, {"min_ratio": None}, {"min_ratio": "0.1"}, {"fixed": None}]
)
def test_bad_types(graph, arguments):
    # Fails: a TypeError of Python's own, which does not name the argument.
    with pytest.raises(ValueError, match=next(iter(arguments))):
        tfrcp.SearchSpace(graph, **arguments)


def test_ratios_and_divisors_by_name_and_pattern(graph):
    space = tfrcp.SearchSpace(
        graph,
        min_ratio={"one_conv": 0.8, "*_conv": 0.5},
        max_ratio={"two": 0.5},
        divisor={"three*": 3},
    )
    assert [choice.tolist() for choice in space.choices] == [[2, 3, 4], [4, 5], [1], [3, 6]]


def test_groups_are_fixed_by_pattern(graph):
    space = tfrcp.SearchSpace(graph, fixed=["*_conv"])
    assert [len(choice) for choice in space.choices] == [1, 1, 3, 1]


def test_tied_groups_keep_the_same_share(graph):
    space = tfrcp.SearchSpace(graph, tied=["*_conv"])  # of sizes 4, 5 and 6
    assert [block.columns.tolist() for block in space.blocks] == [[0, 1, 3], [2]]
    options = space.blocks[0].options
    assert options[:, 2].tolist() == [1, 2, 3, 4, 5, 6]
    assert (np.abs(options / [4, 5, 6] - options[:, 2:] / 6) <= [0.5 / 4, 0.5 / 5, 0]).all()
    assert space.size == 6 * 3
    assert space.smallest.tolist() == [1, 1, 1, 1] and space.largest.tolist() == [4, 5, 3, 6]
    two = tfrcp.SearchSpace(graph, tied=[("stem_conv", "two"), "one*"], fixed=["two"])
    assert [block.columns.tolist() for block in two.blocks] == [[0], [1], [2], [3]]


def test_wider_than_the_network_for_training_from_scratch(graph):
    space = tfrcp.SearchSpace(graph, 0.5, 1.5, from_scratch=True)
    assert [choice.tolist() for choice in space.choices] == [
        [2, 3, 4, 5, 6],
        [3, 4, 5, 6, 7],
        [2, 3, 4],
        [3, 4, 5, 6, 7, 8, 9],
    ]


def test_summary_tells_the_costs_of_the_space(graph):
    cost = tfrcp.CostModel(graph)
    space = tfrcp.SearchSpace(graph)
    lines = space.summary(cost).splitlines()
    assert lines[0].split()[-4:] == ["smallest", "middle", "largest", "unpruned"]
    assert [line.split()[0] for line in lines[1::2]] == ["MACs", "weights", "activations"]
    ends = cost(np.stack([space.smallest, space.centroid, space.largest])).flops
    assert lines[1].split()[1:4] == [f"{n:,}" for n in ends]
    assert lines[2].split()[-1] == "1.000" and max(map(len, lines)) <= 100


def test_config_is_plain_and_tells_spaces_apart(graph):
    config = tfrcp.SearchSpace(graph, divisor=2, tied=["*_conv"]).get_config()
    assert json.loads(json.dumps(config)) == config
    assert config["one_conv"] == {
        "channels": 5,
        "least": 2,
        "most": 5,
        "divisor": 2,
        "block": 0,
    }
    assert config != tfrcp.SearchSpace(graph, divisor=2).get_config()


def test_nothing_to_prune():
    inputs = image()
    graph = tfrcp.trace(keras.Model(inputs, conv(3, "a")(inputs), name="flat"))
    with pytest.raises(ValueError, match=r"No channel of 'flat' can be pruned.*explain\(\)"):
        tfrcp.SearchSpace(graph)


@pytest.mark.parametrize(
    ("budget", "window"),
    [
        ({}, (495, 505)),
        ({"flops": 0.25, "tolerance": 0.01}, (240, 260)),
        ({"flops": 300}, (295, 305)),
        ({"flops": 300, "tolerance": 0}, (300, 300)),
        ({"flops": 1.0, "tolerance": 0}, (1000, 1000)),
        ({"flops": 1}, (-4, 6)),
        ({"flops": np.int64(300)}, (295, 305)),
        ({"flops": np.float64(0.5)}, (495, 505)),
    ],
)
def test_window(budget, window):
    assert tfrcp.Budget(**budget).window(1000) == window


def test_single_precision_is_a_ratio_too():
    # Fails: np.float32(0.5) passes as a ratio, and is then taken for an absolute half FLOP.
    budget = tfrcp.Budget(flops=np.float32(0.5), params=np.float32(0.5))
    assert budget.window(1000) == (495, 505)
    assert budget.ranges({"flops": 1000, "params": 1000})["params"] == (0, 500)


@pytest.mark.parametrize(("params", "limit"), [(0.5, 500), (1.0, 1000), (70, 70)])
def test_params_limit(params, limit):
    budget = tfrcp.Budget(0.5, params=params)
    assert budget.ranges({"flops": 1000, "params": 1000})["params"] == (0, limit)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"flops": 0.0}, r"`flops` must be a float in \(0, 1\].*flops=0.0"),
        ({"flops": 1.5}, "`flops` must.*flops=1.5"),
        ({"flops": 0}, "`flops` must.*flops=0"),
        ({"flops": -5}, "`flops` must.*flops=-5"),
        ({"flops": True}, "`flops` must.*flops=True"),
        ({"flops": "0.5"}, "`flops` must.*flops='0.5'"),
        ({"flops": float("nan")}, "`flops` must.*flops=nan"),
        ({"params": 0}, "`params` must.*params=0"),
        ({"params": 2.0}, "`params` must.*params=2.0"),
        ({"activations": 2.0}, "`activations` must.*activations=2.0"),
        ({"tolerance": -0.1}, r"`tolerance` must be a number in \[0, 1\).*-0.1"),
        ({"tolerance": 1}, r"`tolerance` must be a number in \[0, 1\)"),
        ({"tolerance": float("nan")}, "`tolerance` must.*nan"),
    ],
)
def test_bad_budgets(arguments, message):
    with pytest.raises(ValueError, match=message):
        tfrcp.Budget(**arguments)
