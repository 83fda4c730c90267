#!/usr/bin/env bash
# Installs the wheel in dist/, which was built from the sdist there, into a clean environment and fits: usage
# [PYTHON=...] check_dist.sh
set -euo pipefail
cd "$(dirname "$0")/.."
shopt -s failglob

largest_wheel=3000000  # bytes
work=$PWD/build/dist-check
wheels=(dist/*.whl)

size=$(wc -c <"${wheels[0]}")
if ((size > largest_wheel)); then
    echo "${wheels[0]} has $size bytes, more than $largest_wheel" >&2
    exit 1
fi

rm -rf "$work"
"${PYTHON:-python3}" -m venv "$work"
"$work/bin/python" -m pip install --quiet "${wheels[0]}"
"$work/bin/python" -m pip check
cd "$work" && bin/python - "${wheels[0]}" <<'FIT'
import sys
from importlib.metadata import files

import fastlogreg
from sklearn.datasets import load_breast_cancer

assert fastlogreg.__file__.startswith(sys.prefix), fastlogreg.__file__
names = {file.name for file in files("fastlogreg")}
assert names >= {"py.typed", "design.pyi", "quadratic.pyi", "dispatch.pyi", "LICENSE"}, names
model = fastlogreg.LogisticRegression().fit(*load_breast_cancer(return_X_y=True))
assert model.gap_ < 1e-8, model.gap_
print(f"{sys.argv[1]}: installed, fitted, relative gap {model.gap_:.0e}")
FIT
