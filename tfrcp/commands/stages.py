"""The jobs and their stages: `tfrcp prune`, `train`, `search` and so on."""

from __future__ import annotations

import json

from absl import flags

from tfrcp.commands import base

DESCRIPTIONS = {
    "prune": """The whole job: train (or load), search, fine-tune, evaluate, export, report.

tfrcp prune --config=digits_resnet20 [--config.FIELD=VALUE] [--workdir=DIR]
""",
    "train": """Trains the network, or takes the given one: makes base.keras.

tfrcp train --config=digits_resnet20 [--config.FIELD=VALUE] [--workdir=DIR]
""",
    "search": """Searches the channel counts: makes channels.json and pruned.keras.

tfrcp search --config=digits_resnet20 [--config.FIELD=VALUE] [--workdir=DIR]

On several machines that share the working folder, run the same command on each: the chief with
KERASTUNER_TUNER_ID=chief, workers with ids of their own, and all with KERASTUNER_ORACLE_IP and
KERASTUNER_ORACLE_PORT, the address at which the chief listens. Each may be killed and started
again. On one machine `tfrcp launch` does that.
""",
    "finetune": """Fine-tunes the best candidate: makes finetuned.keras.

tfrcp finetune --config=digits_resnet20 [--config.FIELD=VALUE] [--workdir=DIR]
""",
    "evaluate": """Compares the base with the result on the test split: fills metrics.json.

tfrcp evaluate --config=digits_resnet20 [--config.FIELD=VALUE] [--workdir=DIR]
""",
    "export": """Makes the files in export/, and compares each with the unpruned network's.

tfrcp export --config=digits_resnet20 [--config.FIELD=VALUE] [--workdir=DIR]
    [--config.export.format=tf_saved_model,litert,litert_int8,onnx]

LiteRT needs `pip install "tfrcp[litert]"`, ONNX `pip install "tfrcp[onnx]"`.
""",
    "scratch": """From scratch: train a supernet, search its widths, train the winner, report.

tfrcp scratch --config=scratch_digits [--config.FIELD=VALUE] [--workdir=DIR]

The same command resumes an interrupted job.
""",
}
"""What each is for and how it is called, by its name."""


def run(stage: str) -> None:
    """Defines the flags and runs a stage of a job, or "prune" and "scratch" for all of one.

    The last line that is printed holds the figures of the stage as JSON.
    """
    config = base.define_config()
    strategy = flags.DEFINE_string("strategy", None, "Short for --config.strategy.")
    devices = flags.DEFINE_list("devices", None, "Short for --config.devices: GPU:0,GPU:1.")

    def main() -> None:
        settings = config.value
        if strategy.value is not None:
            settings.strategy = strategy.value
        if devices.value is not None:
            settings.devices = tuple(devices.value)
        from tfrcp.run import Pipeline, ScratchPipeline

        job = ScratchPipeline if stage == "scratch" else Pipeline
        pipeline = job(settings.to_dict(), base.workdir(settings.name))
        getattr(pipeline, stage)()
        if not pipeline.is_worker:
            figures = pipeline.outcome(stage)
            print(json.dumps({**figures, "workdir": str(pipeline.workdir.path)}), flush=True)

    base.run(main, "config", "workdir", "strategy", "devices")
