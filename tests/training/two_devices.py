"""Runs code in a process of its own, with two devices: their number is set before the first use."""

import json
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]

_HEAD = """
import json
import numpy as np
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tfrcp.training import strategy
both = strategy("mirrored", devices=["CPU:0", "CPU:1"])
"""


def run(code):
    """What the code leaves in `found`, which goes through JSON; `both` is the strategy."""
    done = subprocess.run(
        [sys.executable, "-c", f"{_HEAD}{code}\nprint(json.dumps(found))"],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
