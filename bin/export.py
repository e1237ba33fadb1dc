"""Exports the result: makes the files in export/ and compares each with the unpruned network's.

python bin/export.py --config=configs/digits_resnet20.py [--config.FIELD=VALUE] [--workdir=DIR]
    [--config.export.format=tf_saved_model,litert,litert_int8,onnx]

LiteRT needs `pip install "tfrcp[litert]"`, ONNX `pip install "tfrcp[onnx]"`.
"""

import common

if __name__ == "__main__":
    common.run_stage("export")
