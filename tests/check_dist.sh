#!/usr/bin/env bash
# Installs the sdist and the wheel in dist/ into clean environments and fits with each: usage [PYTHON=...] check_dist.sh
set -euo pipefail
cd "$(dirname "$0")/.."
shopt -s failglob

largest_wheel=3000000  # bytes
work=$PWD/build/dist-check
wheels=(dist/*.whl)
sdists=(dist/*.tar.gz)

size=$(wc -c <"${wheels[0]}")
if ((size > largest_wheel)); then
    echo "${wheels[0]} has $size bytes, more than $largest_wheel" >&2
    exit 1
fi

for package in "${wheels[0]}" "${sdists[0]}"; do
    rm -rf "$work"
    "${PYTHON:-python3}" -m venv "$work"
    # pip would remember what it built from an sdist of the same name.
    "$work/bin/python" -m pip install --quiet --no-cache-dir "$package"
    "$work/bin/python" -m pip check
    (cd "$work" && bin/python - "$package") <<'FIT'
import sys
from importlib.metadata import files

import fastlogreg
from sklearn.datasets import load_breast_cancer

assert fastlogreg.__file__.startswith(sys.prefix), fastlogreg.__file__
names = {file.name for file in files("fastlogreg")}
assert names >= {"py.typed", "_design.pyi", "_pointwise.pyi", "dispatch.pyi", "LICENSE"}, names
model = fastlogreg.LogisticRegression().fit(*load_breast_cancer(return_X_y=True))
assert model.gap_ < 1e-8, model.gap_
print(f"{sys.argv[1]}: installed, fitted, relative gap {model.gap_:.0e}")
FIT
done
