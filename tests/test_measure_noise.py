"""A contender against itself on a synthetic clock, under the kinds of noise that machines make: no difference."""

import math

import pytest
import torch
from synthetic_clock import SyntheticClock

from greenkernels.measure import Contender, take_turns

X = (torch.arange(12.0).reshape(3, 4),)
SECONDS = 0.01
SEEDS = range(20)


def calm(clock, random):
    return random.lognormvariate(0, 0.002)


def noisy(clock, random):
    """5 % a call: a machine that one should not measure on."""
    return random.lognormvariate(0, 0.05)


def hiccups(clock, random):
    """One call in ten meets an interrupt or another process and takes up to ten times as long."""
    return random.lognormvariate(0, 0.01) * (random.uniform(2, 10) if random.random() < 0.1 else 1)


def drift(clock, random):
    """The clock of the CPU falls by a third during the run, as in a machine that gets warm."""
    return random.lognormvariate(0, 0.01) * (1 + min(0.5, clock.seconds))


def two_speeds(clock, random):
    """A neighbour comes and goes every 0.4 s and takes a fifth of the machine with it."""
    return random.lognormvariate(0, 0.01) * (1.25 if int(clock.seconds / 0.4) % 2 else 1)


def waves(clock, random):
    """Turbo in slow waves, about as long as a round."""
    return random.lognormvariate(0, 0.01) * (1 + 0.1 * math.sin(clock.seconds * 2 * math.pi / 0.11))


@pytest.mark.parametrize("model", [calm, noisy, hiccups, drift, two_speeds, waves])
def test_a_against_a_says_no_difference(model):
    verdicts = []
    for seed in SEEDS:
        clock = SyntheticClock(seed)

        def call(x, clock=clock):
            clock.work(SECONDS * model(clock, clock.random), noise=0)
            return 2 * x

        turns = take_turns(
            [Contender(name, call, keep=name == "a") for name in "ab"], X, clock=clock, twin="a"
        )
        verdicts.append(turns.compare("a", "b").verdict)
    assert verdicts.count("no difference") >= 19


@pytest.mark.parametrize("model", [calm, hiccups, drift, two_speeds])
def test_a_difference_of_a_fifth_is_still_seen(model):
    verdicts = []
    for seed in SEEDS:
        clock = SyntheticClock(seed)

        def call(x, seconds, clock=clock):
            clock.work(seconds * model(clock, clock.random), noise=0)
            return 2 * x

        entries = [
            Contender("a", lambda x, call=call: call(x, SECONDS), keep=True),
            Contender("b", lambda x, call=call: call(x, SECONDS / 1.2)),
        ]
        verdicts.append(take_turns(entries, X, clock=clock, twin="a").compare("a", "b").verdict)
    assert "slower" not in verdicts
    assert verdicts.count("faster") >= 15
