"""The build on first use and its outcomes, in processes of their own on a copy of the package without binary.

What is tested here is the builder; ``.ci/run`` runs the whole suite on a build on first use of all sources.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable

import pytest
from package_copy import USE, Copy, Use, copied, has_compiler  # noqa: F401

from greenkernels import _toolchain


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


@pytest.mark.usefixtures("has_compiler")
class TestFirstUse:
    def test_two_processes_share_one_build(self, copy: Copy) -> None:
        processes = [copy.start("-c", USE), copy.start("-c", USE)]
        uses = [Use.of(*process.communicate()) for process in processes]
        assert [use.kind for use in uses] == ["built-on-first-use"] * 2
        assert all(use.levels.startswith("scalar") and use.right and not use.warnings for use in uses)
        assert sum("compiling _C for first use: done" in use.stderr for use in uses) == 1
        assert len(copy.binaries()) == 1
        assert not copy.leftovers()

        again = copy.use()
        assert again.kind == "built-on-first-use"
        assert "compiling" not in again.stderr
        code, diagnosis = copy.doctor()
        assert (code, diagnosis["status"]["kind"]) == (0, "built-on-first-use")

    def test_a_changed_source_is_built_anew(self, copy: Copy) -> None:
        copy.use()
        (copy.root / "csrc" / "api" / "activation.h").open("a").write("// changed\n")
        assert "compiling" in copy.use().stderr
        assert len(copy.binaries()) == 2

    @pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
    def test_an_interrupted_build_leaves_no_half_binary(self, copy: Copy, how: signal.Signals) -> None:
        slow = copy.compiler('sleep 30; exec g++ "$@"')
        process = copy.start("-c", USE, CXX=slow)
        wait_for(copy.calls, process)
        process.send_signal(how)
        process.communicate()
        assert not copy.binaries()
        assert bool(copy.leftovers()) == (how == signal.SIGKILL)  # nobody can clean up after that

        slow = copy.compiler('exec g++ "$@"')  # the same compiler to the cache: it says the same version
        assert copy.use(CXX=slow).kind == "built-on-first-use"
        assert not copy.leftovers()

    def test_a_compiler_that_hangs_is_given_up(self, copy: Copy) -> None:
        hangs = copy.compiler("sleep 600")
        use = copy.use(CXX=hangs, GREENKERNELS_BUILD_TIMEOUT="1")
        assert (use.kind, use.right) == ("plain-torch", True)
        assert "no step ended within 1 s" in use.reason
        assert not copy.leftovers()
        calls = copy.calls()
        assert "no step ended within 1 s" in copy.use(CXX=hangs).reason  # remembered: nobody waits again
        assert copy.calls() == calls

    @pytest.mark.parametrize("setting", ["0", "soon", "-1", "nan"])
    def test_a_timeout_that_is_none(self, copy: Copy, setting: str) -> None:
        use = copy.use(GREENKERNELS_BUILD_TIMEOUT=setting)
        assert (use.kind, use.right) == ("plain-torch", True)
        assert f"positive number of seconds, got {setting!r}" in use.reason

    def test_a_compiler_that_does_not_say_its_version(
        self, copy: Copy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        silent = copy.root / "silent"
        silent.write_text("#!/bin/sh\nsleep 600\n")
        silent.chmod(0o755)
        monkeypatch.setenv("CXX", str(silent))
        monkeypatch.setattr(_toolchain._patience, "ANSWER_SECONDS", 0.2)
        with pytest.raises(_toolchain.BuildError, match=r"--version' gives no answer in 0\.2 s"):
            _toolchain.find_compiler()

    def test_the_cache_is_private_and_only_what_was_built_is_loaded(self, copy: Copy) -> None:
        os.chmod(copy.root, 0o777)
        copy.use()
        binary = copy.binaries()[0]
        for path in (binary.parent, binary.parent.parent, binary):
            assert path.stat().st_mode & 0o077 == 0
        whole = binary.read_bytes()
        for damage in (b"", whole[:-1], whole[:4000] + bytes([whole[4000] ^ 1]) + whole[4001:]):
            binary.write_bytes(damage)
            use = copy.use()
            assert (use.kind, use.right) == ("built-on-first-use", True)
            assert "compiling _C for first use: done" in use.stderr
        binary.with_name(binary.name + ".sha256").write_bytes(b"\xff\0")
        assert "compiling _C for first use: done" in copy.use().stderr
        binary.parent.chmod(0o777)  # others could have been there
        assert "compiling _C for first use: done" in copy.use().stderr
        assert "compiling" not in copy.use().stderr

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
    def test_a_folder_of_somebody_else_is_not_used(self, copy: Copy) -> None:
        folder = copy.cache / "build"
        folder.mkdir(parents=True)
        os.chown(folder, 12345, 12345)
        use = copy.use()
        assert (use.kind, use.right) == ("plain-torch", True)
        assert "belongs to another user" in use.reason
        assert not copy.binaries()

    def test_doctor_before_the_first_use(self, copy: Copy) -> None:
        code, diagnosis = copy.doctor()
        assert (code, diagnosis["status"]["kind"]) == (0, "not-built-yet")
        assert diagnosis["mend"] == "greenkernels doctor --build"
        code, diagnosis = copy.doctor("--build")
        assert (code, diagnosis["status"]["kind"]) == (0, "built-on-first-use")

    def test_a_binary_that_does_not_load_says_why(self, copy: Copy) -> None:
        (copy.root / "greenkernels" / "_C.abi3.so").write_text("not a library")
        use = copy.use()
        assert use.kind == "built-on-first-use"
        assert use.reason.startswith("the installed binary does not load: ")
        assert "_C.abi3.so" in use.reason


class TestPlainTorch:
    def check(self, use: Use, reason: str, mend: str) -> None:
        assert use.kind == "plain-torch"
        assert use.right
        assert reason in use.reason
        assert use.mend == mend
        assert len(use.warnings) == 1
        assert reason in use.warnings[0]
        assert mend in use.warnings[0]

    def test_without_a_compiler(self, copy: Copy) -> None:
        use = copy.use(CXX="no-such-compiler")
        self.check(use, "CXX=no-such-compiler is not a command", "unset CXX")

    def test_without_any_compiler_on_the_path(self, copy: Copy) -> None:
        use = copy.use(PATH=str(copy.root))
        self.check(use, "no C++ compiler (looked for g++, c++, clang++)", "conda install -c conda-forge gxx")

    def test_kill_switch(self, copy: Copy) -> None:
        self.check(copy.use(GREENKERNELS_JIT="0"), "GREENKERNELS_JIT=0", "unset GREENKERNELS_JIT")
        assert not copy.cache.exists()

    def test_disabled_on_purpose_needs_no_warning(self, copy: Copy) -> None:
        use = copy.use(GREENKERNELS_DISABLE="1")
        assert (use.kind, use.warnings, use.right) == ("plain-torch", [], True)

    @pytest.mark.usefixtures("has_compiler")
    def test_a_failed_build_is_remembered_until_told_otherwise(self, copy: Copy) -> None:
        broken = copy.compiler('echo "$PWD/soup.cpp:1:2: error: too much salt" >&2; exit 1')
        use = copy.use(CXX=broken)
        self.check(use, "soup.cpp:1:2: error: too much salt", "greenkernels doctor --build")
        log = next(copy.cache.rglob("build.log"))
        assert str(log) in use.reason
        assert "too much salt" in log.read_text()

        calls = copy.calls()
        self.check(copy.use(CXX=broken), "too much salt", "greenkernels doctor --build")
        assert copy.calls() == calls  # the second process did not try again
        code, diagnosis = copy.doctor(CXX=broken)
        assert (code, diagnosis["mend"]) == (1, "greenkernels doctor --build")

        copy.compiler('exec g++ "$@"')
        code, diagnosis = copy.doctor("--build", CXX=broken)
        assert (code, diagnosis["status"]["kind"]) == (0, "built-on-first-use")

    @pytest.mark.usefixtures("has_compiler")
    def test_a_full_disk_is_not_remembered(self, copy: Copy) -> None:
        full = copy.compiler('echo "soup.s: fatal error: No space left on device" >&2; exit 1')
        self.check(copy.use(CXX=full), "No space left on device", "greenkernels doctor --build")
        copy.compiler('exec g++ "$@"')
        assert copy.use(CXX=full).kind == "built-on-first-use"

    @pytest.mark.usefixtures("has_compiler")
    def test_a_cache_that_cannot_be_written(self, copy: Copy) -> None:
        (copy.root / "file").touch()
        use = copy.use(GREENKERNELS_CACHE=str(copy.root / "file" / "cache"))
        self.check(use, "cannot write to the cache", "export GREENKERNELS_CACHE=$(mktemp -d)")

    def test_doctor_exits_with_one(self, copy: Copy) -> None:
        code, diagnosis = copy.doctor(CXX="no-such-compiler")
        assert (code, diagnosis["status"]["kind"], diagnosis["mend"]) == (1, "plain-torch", "unset CXX")
        missing = [finding["name"] for finding in diagnosis["findings"] if not finding["ok"]]
        assert missing == ["installed binary", "C++ compiler", "cache"]
