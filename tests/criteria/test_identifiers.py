"""Criteria by name, by config and as they are."""

import json

import pytest

from tfrcp import criteria


@pytest.mark.parametrize("name", sorted(criteria.CRITERIA))
def test_by_name_and_by_config(name):
    criterion = criteria.get(name)
    assert type(criterion) is criteria.CRITERIA[name]
    config = criteria.serialize(criterion)
    assert config["class_name"] == name
    again = criteria.get(json.loads(json.dumps(config)))
    assert type(again) is type(criterion)
    assert criteria.serialize(again) == config


def test_arguments_survive():
    assert criteria.get({"class_name": "random", "config": {"seed": 7}}).seed == 7
    assert criteria.serialize(criteria.Random(seed=7)) == {
        "class_name": "random",
        "config": {"seed": 7},
    }
    assert criteria.get({"class_name": "random"}).seed == 0


def test_arguments_in_a_name():
    criterion = criteria.get("l2:scope=group:normalize=false:reduction=max")
    assert type(criterion) is criteria.L2
    assert criterion.get_config() == {"scope": "group", "normalize": False, "reduction": "max"}
    assert criteria.get("random:seed=3").seed == 3
    assert criteria.get("taylor:images=64:loss=none").get_config()["loss"] is None


def test_instances_and_functions_are_taken_as_they_are():
    criterion = criteria.L1()
    assert criteria.get(criterion) is criterion

    def own(model, graph, data=None):
        return {}

    assert criteria.get(own) is own


@pytest.mark.parametrize(
    ("identifier", "message"),
    [
        ("l3", r"`criterion` must be one of \[.*'l1'.*Received: 'l3'"),
        ("", "`criterion` must be one of"),
        ("l3:scope=group", "`criterion` must be one of"),
        ("l1:scoop=group", "criterion 'l1' does not fit.*scoop"),
        ("l1:scope", "`scope` must be one of"),
        ("l1:", "criterion 'l1' does not fit"),
        (None, "`criterion` must be one of.*Received: None"),
        (3, "`criterion` must be one of.*Received: 3"),
        (criteria.L1, "`criterion` must be one of.*L1"),
        ({}, "`class_name` must be one of"),
        ({"class_name": "L1"}, "`class_name` must be one of.*'L1'"),
        ({"class_name": "random", "config": {"sed": 1}}, "criterion 'random' does not fit.*sed"),
        ({"class_name": "l1", "config": None}, "criterion 'l1' does not fit"),
    ],
)
def test_unknown(identifier, message):
    with pytest.raises(ValueError, match=message):
        criteria.get(identifier)


def test_only_the_package_s_own_can_be_serialized():
    with pytest.raises(ValueError, match="can be serialized. Received"):
        criteria.serialize(lambda model, graph, data=None: {})


def test_public_names():
    assert all(hasattr(criteria, name) for name in criteria.__all__)
    assert {kind.__name__ for kind in criteria.CRITERIA.values()} <= set(criteria.__all__)
