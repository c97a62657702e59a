#!/bin/sh
# Everything for someone with an NVIDIA GPU, in one offline call: the tests of the CUDA kernels on it, then every kernel
# against cuDNN, cuBLAS and cuSPARSE, with joules where NVML has them. Under 10 minutes; writes one JSON file.
#
#     pip install torch                             # a CUDA build, 2.10 or newer
#     pip install greenkernels-*.whl pytest         # the wheel; nvidia-ml-py for joules
#     tools/gpu_check.sh [--out gpu.json]           # of a checkout; what is tested and timed is the installed wheel
#
# --dry-run goes the same way on CPU tensors of a few elements, and times nothing worth keeping.
set -eu
exec "${PYTHON:-python3}" "$(dirname "$0")/gpu_check" "$@"
