"""The test programs of a built tree, each with the objects in it; and what becomes of them if a file changes."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import limits
from mutations import Mutation

PATIENCE, LEAST_S = (
    5,
    10,
)  # CPU time that a changed program may take: times that of the unchanged one, and at least
CAUGHT, SURVIVED = "caught", "survived"
NOT_COMPILED, NO_CODE = "does not compile", "changes no code"


@dataclass
class Unit:
    """A translation unit."""

    object: Path  # as built without a change
    command: list[str]  # that compiles it, without -o
    folder: Path
    reads: set[Path]  # the source and all that it includes


@dataclass
class Program:
    """A test program."""

    path: Path
    units: list[str]  # names of those in it
    libraries: list[str]  # arguments that follow the changed objects: for what did not change
    own: str  # the unit that has its main
    cpu_s: float = 0


@dataclass
class Built:
    """A tree that was built, and a folder for what is built from a change."""

    tree: Path
    scratch: Path
    units: dict[str, Unit]
    programs: list[Program]
    compiler: str = "c++"
    fresh: dict[str, bool | None] = field(
        default_factory=dict
    )  # of a change: does the unit differ; None: no object

    def outcome(self, mutation: Mutation) -> dict[str, str]:
        """Result of the tests that the file reaches, up to the first that fails; the file is as it was after."""
        path = self.tree / mutation.file
        text, times = path.read_text(), path.stat()
        self.fresh = {}
        try:
            path.write_text(mutation.applied(text))
            return self._tested(path)
        finally:
            path.write_text(text)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # or all that reads it is built again

    def _tested(self, path: Path) -> dict[str, str]:
        changed = {name for name, unit in self.units.items() if path in unit.reads}
        differs = False
        for program in self.reached(path):
            mine = [name for name in program.units if name in changed]
            if any(self._compiled(name) is None for name in mine):
                return {"result": NOT_COMPILED}
            if not any(self.fresh[name] for name in mine):
                continue
            differs = True
            how = self._failure(program, mine)
            if how:
                return {"result": CAUGHT, "by": program.path.name, "how": how}
        return {"result": SURVIVED if differs else NO_CODE}

    def reached(self, path: Path) -> list[Program]:
        """Programs with a unit that reads the file: first those named like it, then the short ones."""
        words = {path.stem, path.parent.name}
        programs = [
            program
            for program in self.programs
            if any(path in self.units[name].reads for name in program.units)
        ]
        return sorted(
            programs,
            key=lambda program: (program.path.name.removeprefix("test_") not in words, program.cpu_s),
        )

    def _compiled(self, name: str) -> bool | None:
        if name not in self.fresh:
            unit, to = self.units[name], self._scratch(name)
            ran = subprocess.run([*unit.command, "-o", str(to)], cwd=unit.folder, capture_output=True)
            same = ran.returncode == 0 and to.read_bytes() == unit.object.read_bytes()
            self.fresh[name] = None if ran.returncode else not same
        return self.fresh[name]

    def _failure(self, program: Program, mine: list[str]) -> str | None:
        path = self.scratch / program.path.name
        objects = [self._scratch(name) for name in mine]
        if program.own not in mine:
            objects.append(self.units[program.own].object)
        link = [self.compiler, *map(str, objects), *program.libraries, "-o", str(path)]
        if subprocess.run(link, cwd=self.tree, capture_output=True).returncode:
            return "does not link"
        return limits.failure((path,), max(LEAST_S, int(PATIENCE * program.cpu_s) + 1))

    def _scratch(self, name: str) -> Path:
        return self.scratch / (name.replace("/", "-") + ".o")


def of_cmake(tree: Path, build: Path) -> Built:
    """What `cmake --build` left: units from compile_commands.json, reads from ninja, members from the linker."""
    scratch = build / "changed"
    scratch.mkdir(exist_ok=True)
    reads = {}
    listing = subprocess.run(("ninja", "-C", build, "-t", "deps"), check=True, capture_output=True, text=True)
    for block in listing.stdout.split("\n\n"):
        target, *lines = block.splitlines() or [""]
        reads[target.partition(":")[0]] = {(build / line.strip()).resolve() for line in lines}
    units = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        command = shlex.split(entry["command"])
        at = command.index("-o")
        name = command[at + 1]
        if command[0].endswith("ccache"):
            command, at = command[1:], at - 1
        del command[at : at + 2]
        units[name] = Unit(build / name, command, Path(entry["directory"]), reads[name])
    tests = sorted(name for name in units if "/test_" in name)
    kernels = thin_archive(
        scratch / "kernels.a", [unit.object for name, unit in units.items() if name not in tests]
    )
    libraries = [str(kernels), "-pthread"]
    compiler = next(iter(units.values())).command[0]
    names = {unit.object.resolve(): name for name, unit in units.items()}
    programs = []
    for own in tests:
        path = build / Path(own).name.partition(".")[0]
        of_program = [own, *members(compiler, units[own].object, libraries, names)]
        programs.append(Program(path, of_program, libraries, own))
    return Built(tree, scratch, units, programs, compiler)


def thin_archive(path: Path, objects: list[Path]) -> Path:
    """An archive that names files, so that the linker tells apart those of one name."""
    path.unlink(missing_ok=True)
    subprocess.run(("ar", "qcsT", path, *objects), check=True)
    return path


def members(compiler: str, own: Path, libraries: list[str], names: dict[Path, str]) -> list[str]:
    """Names of the units that the linker takes out of an archive for a program."""
    link = [compiler, str(own), *libraries, "-Wl,--trace", "-o", "/dev/null"]
    traced = subprocess.run(link, check=True, capture_output=True, text=True, cwd=own.parent).stdout
    files = {Path(own.parent, line).resolve() for line in traced.splitlines()} - {own.resolve()}
    return [name for file, name in names.items() if file in files]
