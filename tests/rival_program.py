"""A rival for the tests of the worker: doubles its input, or misbehaves as told. Needs the standard library only."""

import os
import signal
import sys
import time
from array import array

STEERING = ("OMP_WAIT_POLICY", "OMP_NUM_THREADS", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


def load(spec, arrays, threads):
    does = spec["does"]
    if does == "fails to load":
        raise ImportError("no engine for this CPU")
    if does == "dies while it loads":
        print("out of memory", file=sys.stderr)
        os._exit(3)
    x = arrays["input0"].cast("B").cast("f")
    factor = arrays["weight"].tolist()[0][0] if "weight" in arrays else 2.0

    def call():
        if does == "prints":
            print('{"seconds": 0}')
        if does == "raises" and x[0] == 1:
            raise ArithmeticError("a one\nand a long trace")
        if does == "dies":
            os.kill(os.getpid(), signal.SIGSEGV)
        if does == "hangs":
            time.sleep(600)
        if does == "forgets the last":
            return memoryview(bytes(4 * (len(x) - 1)))
        if does == "is wrong":
            return array("f", [2.1 * value for value in x])
        return array("f", [factor * value for value in x])

    return " ".join([f"{threads} threads", *(f"{key}={os.environ.get(key)}" for key in STEERING)]), call
