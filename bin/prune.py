"""The whole job: train (or load), search, fine-tune, evaluate, export, report.

python bin/prune.py --config=configs/digits_resnet20.py [--config.FIELD=VALUE] [--workdir=DIR]
"""

import common

if __name__ == "__main__":
    common.run_stage("prune")
