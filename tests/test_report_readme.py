"""The results between the README's markers: what they say, and that the same rows give the same bytes."""

import pytest
from bench_rows import case_rows, quantity, rich_rows, row, run_of

from greenkernels.measure import Kind, MixedKindsError, csrc_hash
from greenkernels.report import __main__ as command
from greenkernels.report import readme

pytest.importorskip("matplotlib")


@pytest.fixture
def checkout(tmp_path):
    """A checkout with a kernel and a README, its folder of rows, and a function that adds a run."""
    (tmp_path / "csrc").mkdir()
    (tmp_path / "csrc" / "a.cpp").write_text("int a;")
    (tmp_path / "README.md").write_text(f"before\n{readme.BEGIN}\nold\n{readme.END}\nafter\n")
    folder = tmp_path / "bench" / "results"
    folder.mkdir(parents=True)

    def add(day, rows, **about):
        run_of(rows, day, csrc=csrc_hash(tmp_path), **about).save(folder / f"run-{day}.json")

    return tmp_path, folder, add


def text_of(root, folder):
    return readme.results(folder, root)[0]


def test_results_are_medians_of_three_runs(checkout):
    root, folder, add = checkout
    for day, pair in enumerate([(0.10, 0.05), (0.12, 0.05), (0.11, 0.05)], 1):
        add(day, case_rows(*pair))
    text = text_of(root, folder)
    cell = "torch channels_last 110 → 50: 2.20x [2.00, 2.40] ahead"
    assert f"| case | 1 | - | {cell} | tile=4 | 1.0e-06 |  |" in text  # no cold row yet
    assert "Some CPU" in text
    assert "2026-01-03" in text
    assert "Single layers (1 ahead)" in text
    assert "tile=6" not in text  # thrown out
    assert "stale" not in text.lower()


def test_cold_stands_before_warm_and_rivals_are_named(checkout):
    root, folder, add = checkout
    for day in (1, 2, 3):
        add(day, [r for cache, scale in (("warm", 1), ("cold", 2)) for r in rich_rows(1, cache, scale)])
    text = text_of(root, folder)
    cold, warm = (f"ncnn {n} → {m}: 1.50x [1.50, 1.50] ahead" for n, m in ((60, 40), (30, 20)))
    assert f"| case | 1 | {cold} | {warm} | tile=4 |" in text
    assert text.index("speed-ups-cold-some-6-1-2.svg") < text.index("speed-ups-warm-some-6-1-2.svg")


def test_networks_stand_before_layers(checkout):
    root, folder, add = checkout
    for day in (1, 2, 3):
        network = case_rows(
            0.2, 0.1, case="net 1x3", suite="net", extra={"replaced": 3, "relative_difference": 2e-7}
        )
        add(day, [*case_rows(0.1, 0.05), *network])
    text = text_of(root, folder)
    assert (
        text.index("Whole networks (1 ahead)") < text.index("net 1x3") < text.index("Single layers (1 ahead)")
    )
    assert "differs from torch by 2.0e-07" in text


def test_sparse_layers_have_a_table_and_their_points_of_break_even(checkout):
    root, folder, add = checkout
    for day in (1, 2, 3):
        add(
            day,
            [
                r
                for zeros in (0.5, 0.9)
                for r in case_rows(
                    0.1, 0.12 - 0.1 * zeros, case=f"{zeros}", extra={"zeros": zeros, "shape": [16, 30, 40]}
                )
            ],
        )
    text, figures = readme.results(folder, root)
    assert [figure.name for figure in figures] == ["break-even-warm-1-threads-some-6-1-2"]
    assert "40 to 30" in figures[0].svg
    assert "Sparse layers (2 ahead)" in text
    assert "Single layers" not in text
    assert f"docs/figures/{figures[0].name}.svg" in text


def test_losses_and_stale_rows_are_shown(checkout):
    root, folder, add = checkout
    for day in (1, 2, 3):
        add(day, case_rows(0.05, 0.10, noise=0.06))
    (root / "csrc" / "a.cpp").write_text("int b;")
    text = text_of(root, folder)
    assert "0.50x [0.50, 0.50] loses | tile=4 | 1.0e-06 | stale, noisy |" in text
    assert "Rows marked stale were taken with other kernels" in text
    assert "Single layers (1 lose)" in text


def test_a_case_where_all_of_ours_are_wrong_is_shown(checkout):
    root, folder, add = checkout
    for day in (1, 2, 3):
        add(day, [row("torch", 0.1), row("greenkernels", 0.05, True, thrown_out="relative error 1")])
    assert "| case | 1 | - | torch 100 → none of ours is right | - | - |  |" in text_of(root, folder)


def test_several_machines_are_sections(checkout):
    root, folder, add = checkout
    for day in range(1, 7):
        add(day, case_rows(0.1, 0.05), cpu="One CPU" if day % 2 else "Other CPU")
    text, figures = readme.results(folder, root)
    assert text.count("| case | 1 |") == 2
    assert text.index("**One CPU") < text.index("**Other CPU")
    assert [plot.name for plot in figures] == ["speed-ups-warm-one-6-1-2", "speed-ups-warm-other-6-1-2"]


def test_fewer_than_three_runs_give_no_number(checkout):
    root, folder, add = checkout
    assert "No results yet" in text_of(root, folder)
    add(1, case_rows(0.1, 0.05))
    add(2, case_rows(0.1, 0.05))
    add(3, case_rows(0.1, 0.05), cpu="Another CPU")  # does not count with the others
    assert "No results yet" in text_of(root, folder)


def test_only_measured_times_are_printed(checkout):
    root, folder, add = checkout
    rows = case_rows(0.1, 0.05)
    for r in rows:
        r.time_s = quantity(r.time_s.value, kind=Kind.MODELLED)
    for day in (1, 2, 3):
        add(day, rows)
    with pytest.raises(MixedKindsError):
        readme.results(folder, root)


def test_the_same_rows_give_the_same_bytes(checkout):
    root, folder, add = checkout
    for day in (1, 2, 3):
        add(day, rich_rows(1, "cold"))
    changed = readme.write(root, folder)
    assert [path.name for path in changed] == ["README.md", "speed-ups-cold-some-6-1-2.svg"]
    assert readme.write(root, folder) == []


def test_only_what_is_between_the_markers_changes(checkout):
    root, _, _ = checkout
    path = root / "README.md"
    assert readme.write_between_markers(path, "new")
    assert path.read_text() == f"before\n{readme.BEGIN}\nnew\n{readme.END}\nafter\n"
    assert not readme.write_between_markers(path, "new")
    path.write_text("no markers")
    with pytest.raises(ValueError, match="must have one"):
        readme.write_between_markers(path, "new")


def test_the_command_writes_the_readme_or_a_page(checkout, monkeypatch, capsys):
    root, _, add = checkout
    for day in (1, 2, 3):
        add(day, case_rows(0.1, 0.05))
    monkeypatch.setattr(command, "checkout", lambda: root)
    assert command.main([]) == 0
    assert "wrote" in capsys.readouterr().out
    assert command.main([]) == 0
    assert "up to date" in capsys.readouterr().out
    assert command.main(["--html", str(root / "out.html")]) == 0
    assert (root / "out.html").is_file()


def test_the_command_without_a_checkout(checkout, monkeypatch, capsys, tmp_path):
    _, folder, add = checkout
    add(1, case_rows(0.1, 0.05))
    monkeypatch.setattr(command, "checkout", lambda: None)
    assert command.main([]) == 1
    assert "--rows FOLDER --html FILE makes a page anywhere" in capsys.readouterr().err
    assert command.main(["--rows", str(folder), "--html", str(tmp_path / "page.html")]) == 0
    (tmp_path / "empty").mkdir()
    assert command.main(["--rows", str(tmp_path / "empty"), "--html", str(tmp_path / "page.html")]) == 1
    assert "there must be at least one run" in capsys.readouterr().err
    assert command.main(["--rows", str(tmp_path / "none"), "--html", str(tmp_path / "page.html")]) == 1
    assert f"{tmp_path / 'none'}: must be a file of benchmark rows" in capsys.readouterr().err
