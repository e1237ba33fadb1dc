"""Exports the result: makes export/saved_model.

python bin/export.py --config=configs/digits_resnet20.py [--config.FIELD=VALUE] [--workdir=DIR]
"""

import common

if __name__ == "__main__":
    common.run_stage("export")
