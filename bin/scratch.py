"""Pruning from scratch: train a supernet, search its widths, train the winner, export, report.

python bin/scratch.py --config=configs/scratch_digits.py [--config.FIELD=VALUE] [--workdir=DIR]

The same command goes on where it was interrupted.
"""

import common

if __name__ == "__main__":
    common.run_stage("scratch", "ScratchPipeline")
