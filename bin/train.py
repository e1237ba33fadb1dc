"""Trains the network, or takes the given one: makes base.keras.

python bin/train.py --config=configs/digits_resnet20.py [--config.FIELD=VALUE] [--workdir=DIR]
"""

import common

if __name__ == "__main__":
    common.run_stage("train")
