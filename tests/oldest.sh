#!/usr/bin/env bash
# The core tests with the oldest versions that setup.py allows, in an environment of their own.
#
#   bash tests/oldest.sh [ENVIRONMENT] [ARGUMENTS OF PYTEST]
#
# An ENVIRONMENT that is there is used again. Without arguments the tests below are run.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3.11}
environment=${1:-$(mktemp -d)/venv}
shift || true

# name>=1.2,<2 of install_requires becomes name==1.2.*
oldest=$("$python" - <<'PY'
import ast, re

(call,) = (n for n in ast.walk(ast.parse(open("setup.py").read()))
           if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "setup")
(needed,) = (k.value for k in call.keywords if k.arg == "install_requires")
for text in ast.literal_eval(needed):
    name, version = re.match(r"([\w-]+)>=([\d.]+)", text).groups()
    print(f"{name}=={version}.*")
PY
)

if [ ! -x "$environment/bin/python" ]; then
  "$python" -m venv "$environment"
  "$environment/bin/python" -m pip install --quiet $oldest \
    "scikit-learn==1.5.*" "hypothesis>=6.100" "pytest>=8" "pytest-xdist>=3.5"
  "$environment/bin/python" -m pip install --quiet --no-deps --editable .
fi
"$environment/bin/python" -m pip check
echo "$oldest" | tr '\n' ' '; echo

core=(
  tests/graph/test_trace.py tests/graph/test_equivalence.py tests/space tests/criteria
  tests/reconstruction tests/allocation tests/models/test_builders.py tests/scoring/test_jobs.py
  tests/search/test_tuner.py tests/search/test_prune.py tests/training/test_fit.py
  tests/binaries/test_command.py tests/run/test_run.py
)
# Keras 3.12 makes no model without layers.
exec "$environment/bin/python" -m pytest -q -W default \
  --deselect tests/graph/test_trace.py::test_model_without_layers "${@:-${core[@]}}"
