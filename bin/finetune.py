"""Fine-tunes the best candidate: makes finetuned.keras.

python bin/finetune.py --config=configs/digits_resnet20.py [--config.FIELD=VALUE] [--workdir=DIR]
"""

import common

if __name__ == "__main__":
    common.run_stage("finetune")
