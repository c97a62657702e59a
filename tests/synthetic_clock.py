"""A clock that stands still until someone works or sleeps, and contenders that work on it."""

import random

from greenkernels.measure import Clock, Contender


class SyntheticClock(Clock):
    """Seconds pass only where `work` or `sleep` says so; `noise` is the spread of the logarithm of a time."""

    def __init__(self, seed=0, noise=0.0):
        self.seconds, self.noise, self.random = 0.0, noise, random.Random(seed)
        self.beats = []  # [time of the next call, pause between two, function]

    def now(self):
        return self.seconds

    def sleep(self, seconds):
        self.advance(seconds)

    def work(self, seconds, noise=None):
        self.advance(seconds * self.random.lognormvariate(0, self.noise if noise is None else noise))

    def every(self, seconds, tick):
        beat = [self.seconds + seconds, seconds, tick]
        self.beats.append(beat)
        return lambda: self.beats.remove(beat)

    def advance(self, seconds):
        """Lets time pass, with the calls that fall into it."""
        end = self.seconds + seconds
        while self.beats and (beat := min(self.beats, key=lambda b: b[0]))[0] <= end:
            self.seconds = beat[0]
            beat[0] += beat[1]
            beat[2]()
        self.seconds = end


def double(x):
    return 2 * x


def contender(name, clock, seconds, function=double, noise=0.0, **options):
    """Computes `function` and takes `seconds` for it."""

    def call(x):
        clock.work(seconds, noise)
        return function(x)

    return Contender(name, call, **options)
