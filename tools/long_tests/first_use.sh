#!/usr/bin/env bash
# The tests of every kernel in a checkout without a binary, which is built on first use, from nothing.
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/checkout"
git archive HEAD | tar -x -C "$scratch/checkout"
cd "$scratch/checkout"
tests=(tests/test_import.py)
for contract in $(grep -l 'namespace cpu {' csrc/api/*.h); do
  tests+=(tests/test_"$(basename "$contract" .h)"*.py)
done
GREENKERNELS_CACHE=$scratch/cache python -m pytest -q "${tests[@]}"
