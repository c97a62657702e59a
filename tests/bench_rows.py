"""Rows and runs with chosen numbers, for the tests of what is made from them."""

from greenkernels.measure import Kind, Measurement, Row, Run, Work

CEILINGS = {
    "fma": Measurement(2e11, "op/s", Kind.MEASURED),
    "read": Measurement(2e10, "B/s", Kind.MEASURED),
}


def quantity(value, unit="s", kind=Kind.MEASURED):
    return Measurement(value, unit, kind, 0.9 * value, 1.1 * value, (value,))


def row(contender, time_s, ours=False, case="case", suite="stem", threads=1, **facts):
    return Row(suite, case, contender, ours, quantity(time_s), threads, **facts)


def case_rows(torch_s, ours_s, **facts):
    """torch twice, ours twice; the fastest of ours is wrong."""
    return [
        row("torch NCHW", 2 * torch_s, **facts),
        row("torch channels_last", torch_s, **facts),
        row("greenkernels tile=4", ours_s, True, max_relative_error=1e-6, **facts),
        row("greenkernels tile=6", 1e-9, True, thrown_out="relative error 1", **facts),
    ]


def run_of(rows, day, csrc="hash", cpu="Some CPU", torch="2.13.0"):
    machine = {"cpu": {"name": cpu, "family_model": "6/1", "cores": 2}}
    source = {"commit": "c", "dirty": False, "csrc_hash": csrc}
    return Run(list(rows), f"2026-01-{day:02}T00:00:00+00:00", machine, {"torch": torch}, source)


def rich_rows(threads, cache, scale=1.0):
    """Ours and a peer with everything that schema 2 can hold."""
    work = Work(direct_flops=4e9, flops=1e9, bytes=1e8)
    facts = {"threads": threads, "cache": cache, "ceilings": CEILINGS, "max_relative_error": 1e-6}
    return [
        row("torch NCHW", 0.05 * scale, work=Work(4e9, 4e9, 1e8), **facts),
        row("ncnn", 0.03 * scale, version="1.0.20", flags="winograd=auto", work=Work(4e9, 4e9, 1e8), **facts),
        row(
            "greenkernels tile=4",
            0.02 * scale,
            True,
            work=work,
            energy_j=quantity(0.5, "J", Kind.MODELLED),
            **facts,
        ),
    ]
