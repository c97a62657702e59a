"""A clock that stands still until someone works or sleeps, and contenders that work on it."""

import random

from greenkernels.measure import Clock, Contender


class SyntheticClock(Clock):
    """Seconds pass only where `work` or `sleep` says so; `noise` is the spread of the logarithm of a time."""

    def __init__(self, seed=0, noise=0.0):
        self.seconds, self.noise, self.random = 0.0, noise, random.Random(seed)

    def now(self):
        return self.seconds

    def sleep(self, seconds):
        self.seconds += seconds

    def work(self, seconds, noise=None):
        self.seconds += seconds * self.random.lognormvariate(0, self.noise if noise is None else noise)


def double(x):
    return 2 * x


def contender(name, clock, seconds, function=double, noise=0.0, **options):
    """Computes `function` and takes `seconds` for it."""

    def call(x):
        clock.work(seconds, noise)
        return function(x)

    return Contender(name, call, **options)
