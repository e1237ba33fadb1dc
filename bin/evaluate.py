"""Compares the base with the result on the test split: fills metrics.json.

python bin/evaluate.py --config=configs/digits_resnet20.py [--config.FIELD=VALUE] [--workdir=DIR]
"""

import common

if __name__ == "__main__":
    common.run_stage("evaluate")
