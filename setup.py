"""Builds greenkernels._C ahead of time, as greenkernels/_toolchain.py says; the rest is in pyproject.toml."""

import importlib
import shutil
import sys
import types
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
PINNED_TORCH = "torch==2.13.0"  # what development uses; the binary runs on every torch from 2.10
BUILD_TOOLS = "'setuptools>=77' ninja"


def load_toolchain():
    """greenkernels/_toolchain.py in a package of another name, whose own code, which imports torch, does not run."""
    package = types.ModuleType("greenkernels_build")
    package.__path__ = [str(ROOT / "greenkernels")]
    sys.modules[package.__name__] = package
    return importlib.import_module(f"{package.__name__}._toolchain")


toolchain = load_toolchain()


def library():
    """What to build. Stops where pip would download a torch of its own choice, several gigabytes of it."""
    try:
        return toolchain.torch_extension(ahead_of_time=True)
    except toolchain.BuildError as error:
        sys.exit(
            f"greenkernels: {error.cause} in this environment, and a build that fetched a torch by itself\n"
            "could get one of several gigabytes that you do not want. Use instead:\n\n"
            f"    pip install {PINNED_TORCH} {BUILD_TOOLS} && pip install --no-build-isolation {ROOT}\n"
        )


def extensions():
    """One extension, or none without a compiler: ops then compute with plain torch until there is one."""
    try:
        toolchain.find_compiler()
    except toolchain.BuildError as error:
        print(f"greenkernels: no binary is built: {error.cause}. {error.mend}", file=sys.stderr)
        return []
    return [Extension("greenkernels._C", sources=[], py_limited_api=True)]


class NinjaBuild(build_ext):
    """Compiles through the same ninja file as the build on first use."""

    def build_extension(self, ext):
        work = ROOT / "build" / "ninja"  # kept, so that the next build compiles only what changed
        work.mkdir(parents=True, exist_ok=True)
        try:
            binary = toolchain.build(library(), work, self._progress)
        except toolchain.BuildError as error:
            sys.exit(f"{error.log}\ngreenkernels: {error.cause}. {error.mend}")
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_suffix(".tmp")
        shutil.copyfile(binary, temporary)
        temporary.replace(target)  # never overwrites a file that a running process has mapped

    def _progress(self, done, total):
        print(f"greenkernels: compiled {done} of {total}", file=sys.stderr)


class BuildWithSources(build_py):
    """Puts csrc into the package, for the builds on first use: without a binary, and of greenkernels.raw."""

    def run(self):
        super().run()
        if not self.editable_mode:
            shutil.copytree(
                ROOT / "csrc", Path(self.build_lib) / "greenkernels" / "_csrc", dirs_exist_ok=True
            )


library()  # before pip resolves the run-time dependencies, torch among them
setup(
    ext_modules=extensions(),
    cmdclass={"build_ext": NinjaBuild, "build_py": BuildWithSources},
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
