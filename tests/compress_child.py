"""Follows a recipe and waits where it is told to, for a parent that kills it there.

python compress_child.py RECIPE DATA OUT WHERE, WHERE being "NN-step" (its work is done, nothing is written), "NN-step
written" (weights are, the row is not), "times" or "nowhere".
"""

import sys
import time
from pathlib import Path

from greenkernels.compress.pipeline import read_recipe, run, runner, steps

recipe, data, out, where = sys.argv[1:]
save = runner.save


def wait_if(here):
    if here == where:
        print("here", flush=True)
        time.sleep(600)


def saved(model, path, **options):
    done = save(model, path, **options)
    wait_if(f"{path.name.split('.')[0]} written")
    return done


def followed(step, kind):
    def follow(model, job, **options):
        done = kind.run(model, job, **options)
        name = f"{[s.do for s in made.steps].index(step) + 1:02d}-{step}"
        wait_if(name)
        return done

    return kind._replace(run=follow)


def times(models, data):
    """No clock: they are none of this test's business."""
    wait_if("times")
    return {name: {"time_s": 1e-3, "threads": 1, "batch": 8, "speedup": [1, 1, 1]} for name in models}


made = read_recipe(Path(recipe))
runner.save, runner.take_times = saved, times
for step in {s.do for s in made.steps}:
    steps.STEPS[step] = followed(step, steps.STEPS[step])
for row in run(made, Path(out), data=Path(data)):
    print(row)
