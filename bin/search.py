"""Searches the channel counts: makes channels.json and pruned.keras.

python bin/search.py --config=configs/digits_resnet20.py [--config.FIELD=VALUE] [--workdir=DIR]
"""

import common

if __name__ == "__main__":
    common.run_stage("search")
