"""A benchmark in seconds: a small network, made images, few settings and seeds."""

from __future__ import annotations

from configs import benchmark_digits
from tests.small_run import REPOSITORY

OWN = {
    "criterion": f"{REPOSITORY / 'examples' / 'own_criterion.py'}:largest_weight",
    "allocation": f"{REPOSITORY / 'examples' / 'own_allocation.py'}:wider_with_depth",
}


def config(inputs, **changes):
    """The configuration as a nested dict.

    Args:
        inputs: Folder that `tests.small_run.write_inputs` has filled.
        **changes: Fields of `config.benchmark`; of other parts with their names:
            search__reconstruction.
    """
    whole = benchmark_digits.get_config().to_dict()
    whole["data"]["name"] = str(inputs / "data.npz")
    whole["model"]["base"] = str(inputs / "base.keras")
    whole["train"]["epochs"] = 0
    whole["train"]["warmup_epochs"] = 0
    whole["finetune"]["batch_size"] = 32
    whole["search"]["tolerance"] = 0.05
    whole["benchmark"] |= {
        "flops": (0.5,),
        "epochs": 0,  # Only the study of epochs trains.
        "samples": 3,
        "seeds": 2,
        "criteria": ("random", OWN["criterion"]),
        "allocations": ("uniform", OWN["allocation"]),
        "epochs_grid": (0, 1),
        "epochs_allocations": ("uniform",),
        "samples_grid": (1,),
        "pool": 3,
        "learning_rates": (0.1,),
    }
    for name, value in changes.items():
        part, _, field = name.rpartition("__")
        whole[part or "benchmark"][field] = value
    return whole
