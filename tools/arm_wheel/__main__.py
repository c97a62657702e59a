"""The wheel for 64-bit Arm, cross-compiled and audited; with --smoke also imported and run under qemu.

Compiled by aarch64-linux-gnu-g++ against headers and libraries of torch's own wheel for that architecture, in
build/arm_wheel. For --smoke Python comes from Debian's packages for arm64 and runs in qemu-aarch64-static, and the
result goes to docs/arm-wheel.json; nothing is installed on this machine. Exit status 1 if a step fails.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "build" / "arm_wheel"
RESULT = ROOT / "docs" / "arm-wheel.json"
TORCH = "2.10.0"  # the oldest that the wheel runs on
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64")
PYTHON = "3.11"  # of Debian 12; any from 3.10 would do
# Without their dependencies: pip takes those of the machine that it runs on, for torch gigabytes of CUDA.
NEEDED = (
    *(
        "filelock",
        "fsspec",
        "jinja2",
        "markupsafe",
        "mpmath",
        "networkx",
        "numpy",
        "sympy",
        "typing-extensions",
    ),
    *(
        "safetensors",
        "typer>=0.15",
        "rich>=13",
        "click",
        "shellingham",
        "pygments",
        "markdown-it-py",
        "mdurl",
    ),
)
DEBIAN = (
    *(
        "python3.11-minimal",
        "libpython3.11-minimal",
        "libpython3.11-stdlib",
        "libc6",
        "libgcc-s1",
        "libstdc++6",
    ),
    *("zlib1g", "libexpat1", "libssl3", "libffi8", "libbz2-1.0", "liblzma5", "libuuid1", "libcrypt1"),
)


def main() -> int:
    """Builds, audits and maybe runs the wheel; returns the exit status."""
    parser = argparse.ArgumentParser(prog="arm_wheel", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--smoke", action="store_true", help="import the wheel under qemu and run every kernel"
    )
    parser.add_argument("--torch", default=TORCH, help="version to build against and to run on")
    parser.add_argument(
        "--cxx", default="aarch64-linux-gnu-g++", help="the cross compiler, with arguments if need be"
    )
    chosen = parser.parse_args()
    try:
        site = install(f"torch=={chosen.torch}", *(NEEDED if chosen.smoke else ()))
        wheel = build(site, chosen.cxx)
        print(f"built {wheel.name}\n{audit(wheel)}")
        told = {"wheel": wheel.name, "torch": chosen.torch, "audit": tag_of(wheel)}
        if chosen.smoke:
            told["smoke"] = json.loads(smoke(wheel, site))
            print(told["smoke"])
            write(told | {"date": datetime.datetime.now(datetime.timezone.utc).date().isoformat()})
    except subprocess.CalledProcessError as problem:
        print(f"{problem}\n{problem.stdout or ''}{problem.stderr or ''}", file=sys.stderr)
        return 1
    return 0


def install(*packages: str) -> Path:
    """A folder of packages for the other architecture, unpacked by pip and run by nobody here."""
    site = WORK / "site"
    done = site / ".installed"
    if not done.exists() or done.read_text() != " ".join(packages):
        shutil.rmtree(site, ignore_errors=True)
        platforms = [word for name in PLATFORMS for word in ("--platform", name)]
        options = (
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
            "--python-version",
            PYTHON,
            "--target",
            str(site),
        )
        run(sys.executable, "-m", "pip", "install", *options, *platforms, *packages)
        done.write_text(" ".join(packages))
    return site


def build(site: Path, cxx: str) -> Path:
    """The wheel of the files that git knows, in a copy, so that objects of this machine stay apart."""
    source, out = WORK / "source", WORK / "wheel"
    shutil.rmtree(source / "build" / "lib", ignore_errors=True)
    shutil.rmtree(out, ignore_errors=True)
    for name in run(
        "git", "ls-files", "greenkernels", "csrc", "*.toml", "setup.py", "*.md", "LICENSE", "NOTICE"
    ).split():
        target = source / name
        if not target.exists() or target.read_bytes() != (ROOT / name).read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target)
    torch_first = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    environment = {  # setup.py looks for the folder of torch and imports nothing of it
        "CXX": cxx,
        "GREENKERNELS_CUDA": "0",
        "PYTHONPATH": torch_first,
        "_PYTHON_HOST_PLATFORM": "linux-aarch64",
    }
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(out))
    pip = ("-c", "import sys; from pip._internal.cli.main import main; sys.exit(main())")
    run(sys.executable, *pip, "wheel", *options, str(source), **environment)
    return next(out.glob("*.whl"))


def audit(wheel: Path) -> str:
    """What the audits of the native wheel say of this one."""
    unpacked = WORK / "unpacked"
    shutil.rmtree(unpacked, ignore_errors=True)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    binary = unpacked / "greenkernels" / "_C.abi3.so"
    header = run("aarch64-linux-gnu-readelf", "-h", str(binary))
    if "AArch64" not in header:
        raise subprocess.CalledProcessError(1, "readelf", header, "the binary is not for 64-bit Arm")
    return run("torch-abi-audit", "--check", "both", str(binary)) + run("auditwheel", "show", str(wheel))


def tag_of(wheel: Path) -> str:
    """The oldest platform tag that auditwheel allows."""
    words = run("auditwheel", "show", str(wheel)).replace("\n", " ").split('"')
    return next((word for word in reversed(words) if word.startswith("manylinux")), "linux_aarch64")


def smoke(wheel: Path, site: Path) -> str:
    """The line that smoke.py of tools/versions prints, all of it run in qemu."""
    root = debian()
    own = WORK / "own"
    shutil.rmtree(own, ignore_errors=True)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(own)
    code = (
        "import json, platform, torch, greenkernels as gk, smoke; torch.set_num_threads(1); torch.manual_seed(0)\n"
        "info = gk.info(); assert info['kind'] == 'ahead-of-time', info\n"
        "facts = {'python': platform.python_version(), 'machine': platform.machine(), 'torch': torch.__version__}\n"
        "facts |= {'isa': info['isa'], 'largest error / bound': round(max(smoke.kernel_errors()), 3)}\n"
        "print(json.dumps(facts | smoke.network_facts()))"
    )
    folders = (own, site, ROOT / "tools" / "versions")
    emulated = ("qemu-aarch64-static", "-L", str(root), str(root / "usr/bin/python3.11"))
    environment = {
        "PYTHONPATH": os.pathsep.join(map(str, folders)),
        "PYTHONHOME": str(root / "usr"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "QEMU_CPU": "max",
        "OMP_NUM_THREADS": "1",
        "GREENKERNELS_JIT": "0",
    }
    # Not in the checkout: its own package would come first.
    return run(*emulated, "-W", "ignore", "-c", code, cwd=WORK, **environment).splitlines()[-1]


def debian() -> Path:
    """A folder with Debian's Python for arm64; apt keeps its lists there and this machine's own are not touched."""
    root, state = WORK / "debian", WORK / "apt"
    if (root / "usr/bin/python3.11").exists():
        return root
    for folder in (state / "lists/partial", state / "cache/archives/partial", root):
        folder.mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    options = (
        "APT::Architecture=arm64",
        "APT::Architectures=arm64",
        f"Dir::State={state}",
        f"Dir::Cache={state / 'cache'}",
    )
    options += (f"Dir::State::status={state / 'status'}", "APT::Sandbox::User=root")
    apt = ("apt-get", "-q", *(word for option in options for word in ("-o", option)))
    run(*apt, "update")
    run(*apt, "download", *DEBIAN, cwd=state)
    for package in state.glob("*.deb"):
        run("dpkg", "--extract", str(package), str(root))
    return root


def run(*command: str, cwd: Path = ROOT, **environment: str) -> str:
    """What the command printed."""
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, cwd=cwd, env=os.environ | environment
    )
    return done.stdout


def write(told: dict[str, object]) -> None:
    """All or nothing."""
    temporary = RESULT.with_suffix(".part")
    temporary.write_text(json.dumps(told, indent=1) + "\n")
    temporary.replace(RESULT)


if __name__ == "__main__":
    sys.exit(main())
