"""Searches the channel counts: makes channels.json and pruned.keras.

python bin/search.py --config=configs/digits_resnet20.py [--config.FIELD=VALUE] [--workdir=DIR]

On several machines that share the working folder, run the same command on each: the chief with
KERASTUNER_TUNER_ID=chief, workers with ids of their own, and all with KERASTUNER_ORACLE_IP and
KERASTUNER_ORACLE_PORT, the address at which the chief listens. Each may be killed and started
again. On one machine bin/launch.py does that.
"""

import common

if __name__ == "__main__":
    common.run_stage("search")
