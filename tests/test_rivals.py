"""Rivals: who is found, why others are not, and that each computes the right thing where it is installed."""

import copy
import ctypes
import os
import sys
from importlib import metadata

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from greenkernels._toolchain import BuildError, find_compiler
from greenkernels.cli import build_app
from greenkernels.measure import Contender, relative_error, rivals
from greenkernels.measure.rivals import CannotRun, ConvTask, LinearTask, MatmulTask, NetworkTask, Rival
from greenkernels.measure.rivals.drivers import deepsparse, mkl_as_intel, ncnn, torch_compiled
from greenkernels.measure.rivals.task import inputs_of, module_of
from greenkernels.measure.suite import Trial, with_rivals

EPS = torch.finfo(torch.float32).eps
ALL = {rival.name: rival for rival in rivals.registered()}


def compiles():
    try:
        find_compiler()
    except BuildError:
        return False
    return True


needs_compiler = pytest.mark.skipif(not compiles(), reason="needs a C++ compiler")


def conv_task(activation=None, batch=1, slope=None, **options):
    options = {"padding": 1, **options}
    return ConvTask(nn.Conv2d(16, 24, 3, **options).eval(), activation, torch.randn(batch, 16, 14, 13), slope)


def linear_task(*shape, bias=True):
    return LinearTask(nn.Linear(70, 50, bias=bias).eval(), torch.randn(*shape, 70))


TASKS = {
    "conv": conv_task,
    "conv of two, no bias": lambda: conv_task(batch=2, bias=False),
    "conv valid, stride 2": lambda: conv_task(padding=0, stride=2),
    "conv oblong": lambda: conv_task(padding=(2, 1), stride=(1, 2), dilation=(2, 1)),
    "conv grouped": lambda: conv_task(groups=4),
    **{f"conv {name}": lambda name=name: conv_task(name) for name in ("relu", "relu6", "silu", "gelu")},
    **{f"conv {name}": lambda name=name: conv_task(name) for name in ("hardswish", "hardsigmoid")},
    **{f"conv {name}": lambda name=name: conv_task(name) for name in ("sigmoid", "tanh", "prelu")},
    "conv leaky_relu": lambda: conv_task("leaky_relu", slope=0.1),
    "linear": lambda: linear_task(33),
    "linear of three axes, no bias": lambda: linear_task(2, 5, bias=False),
    "matmul": lambda: MatmulTask(torch.randn(33, 70), torch.randn(70, 40)),
    "network": lambda: NetworkTask(
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 6 * 5, 4)).eval(),
        (torch.randn(1, 3, 8, 7),),
    ),
}

# Terms of a sum: 16 channels x 9 taps, or k = 70; the longest of the network has 240. Rounding errors add up like a
# random walk; F(6x6), which ncnn may take, makes them 17 times as large (csrc/api/winograd_conv2d.h), and 4 is room.
TOLERANCE = 4 * EPS * 240**0.5 * 17


def exact(task, inputs):
    call = torch.mm if isinstance(task, MatmulTask) else copy.deepcopy(module_of(task)).double()
    with torch.inference_mode():
        return call(*(tensor.double() for tensor in inputs))


def run(contender, inputs):
    with torch.inference_mode():
        arguments = contender.prepare(inputs) if contender.prepare else inputs
        return contender.timer(arguments, 1)[1] if contender.timer else contender.call(*arguments)


def only(name, task):
    """The contender of one rival, or a skipped test that says why there is none."""
    found, why_not = rivals.contenders(task, [ALL[name]])
    if not found:
        assert not why_not[name].startswith("raised"), why_not[name]
        pytest.skip(why_not[name])
    return found[0]


# --- right results


KINDS = {"conv": ConvTask, "linear": LinearTask, "matmul": MatmulTask, "network": NetworkTask}
PAIRS = [
    (name, what)
    for name, rival in ALL.items()
    for what in TASKS
    if KINDS[what.split()[0]] in rival.tasks
    # torch compiled takes seconds for each, so it gets a few.
    and (name != "torch compiled" or what in ("conv relu", "matmul", "network"))
]


@pytest.mark.parametrize(("name", "what"), PAIRS)
def test_matches_float64(name, what):
    torch.manual_seed(0)
    task = TASKS[what]()
    contender = only(name, task)
    for inputs in (inputs_of(task), tuple(torch.randn_like(tensor) for tensor in inputs_of(task))):
        assert relative_error(run(contender, inputs), exact(task, inputs)) <= TOLERANCE
    assert contender.name == name
    assert contender.version
    assert f"{torch.get_num_threads()} threads" in contender.flags
    assert contender.proof is None or contender.proof() is None


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", [name for name in ALL if name != "torch compiled"])
def test_is_built_for_the_threads_of_torch(name, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        task = conv_task("relu") if ConvTask in ALL[name].tasks else linear_task(33)
        contender = only(name, task)
        assert relative_error(run(contender, inputs_of(task)), exact(task, inputs_of(task))) <= TOLERANCE
    finally:
        torch.set_num_threads(before)
    assert f"{threads} threads" in contender.flags


@pytest.mark.parametrize("name", [name for name in ALL if name != "torch compiled"])
def test_a_fresh_one_has_weights_of_its_own(name):
    task = conv_task() if ConvTask in ALL[name].tasks else linear_task(5)
    contender = only(name, task)
    if contender.timer:
        assert contender.fresh is None  # a process for each copy would be too many
        return
    expected = exact(task, inputs_of(task))
    fresh = contender.fresh()
    task.module.weight.data.zero_()
    for one in (contender, fresh):
        assert relative_error(run(one, inputs_of(task)), expected) <= TOLERANCE


def test_leaves_the_module_alone():
    task = conv_task("relu")
    before = {name: (value.clone(), value.stride()) for name, value in task.module.state_dict().items()}
    rivals.contenders(task, [ALL[name] for name in ("torch channels_last", "oneDNN packed")])
    for name, value in task.module.state_dict().items():
        assert torch.equal(value, before[name][0])
        assert value.stride() == before[name][1]


# --- who is not in a run, and why


def test_names_differ():
    assert len(ALL) == len(rivals.registered())


def test_a_missing_package_names_its_command(monkeypatch):
    def version(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    found, why_not = rivals.contenders(conv_task())
    assert {"torch NCHW", "torch channels_last"} <= {contender.name for contender in found}
    assert why_not["ncnn"] == "not installed: pip install ncnn"
    assert why_not["onnxruntime"] == "not installed: pip install onnx onnxruntime"
    assert why_not["XNNPACK (LiteRT)"] == "not installed: pip install ai-edge-litert"


def test_a_task_beyond_a_rival_is_told():
    found, why_not = rivals.contenders(MatmulTask(torch.ones(2, 2), torch.ones(2, 2)), [ALL["ncnn"]])
    assert not found
    assert why_not == {"ncnn": "is not driven for a MatmulTask here"}


@pytest.mark.parametrize("name", ["numpy (OpenBLAS)", "ncnn", "onnxruntime", "OpenVINO", "MKL packed"])
def test_float64_is_refused(name):
    task = LinearTask(nn.Linear(4, 3).double().eval(), torch.ones(2, 4, dtype=torch.float64))
    found, why_not = rivals.contenders(task, [ALL[name]])
    assert not found
    assert why_not[name] == "is driven in float32 here, not float64" or "not installed" in why_not[name]


def test_padding_by_word_is_refused():
    found, why_not = rivals.contenders(conv_task(padding="same"), [ALL["oneDNN packed"]])
    assert not found
    assert why_not["oneDNN packed"] == "is driven with zero padding in numbers, not zeros 'same'"


def test_a_rival_that_fails_ends_no_run():
    def fail(task):
        raise OSError("libfoo.so: " + "x" * 1000 + "\nmore")

    broken = Rival("broken", "", (ConvTask,), lambda: "1", fail)
    fine = Rival("fine", "", (ConvTask,), lambda: "1", lambda task: Contender("fine", task.module))
    found, why_not = rivals.contenders(conv_task(), [broken, fine])
    assert [contender.name for contender in found] == ["fine"]
    assert why_not["broken"].startswith("raised OSError: libfoo.so: xxx")
    assert len(why_not["broken"]) < 250


def test_what_a_case_brings_itself_is_not_asked_twice(monkeypatch):
    task = conv_task()
    monkeypatch.setattr(rivals, "registered", lambda: [ALL["torch NCHW"], ALL["torch channels_last"]])
    mine = Contender("torch NCHW", task.module, keep=True)
    trial, missing = with_rivals(Trial([mine], inputs_of(task), task.module, 1.0, frozenset(), task=task))
    assert [contender.name for contender in trial.contenders] == ["torch NCHW", "torch channels_last"]
    assert trial.contenders[0] is mine
    assert missing == {}


def test_the_command_lists_everyone():
    result = CliRunner().invoke(build_app(["peers"]), ["peers"])
    assert result.exit_code == 0
    for name in ALL:
        assert name in result.output


# --- single rivals


def test_a_kernel_of_ncnn_stands_once():
    pytest.importorskip("ncnn")
    names = [rival for rival in rivals.registered() if rival.name in ncnn.WINOGRAD]
    found, why_not = rivals.contenders(conv_task(stride=2), names)  # no Winograd there
    assert [contender.name for contender in found] == ["ncnn"]
    assert why_not["ncnn F(4,3)"] == "takes the same kernel as 'ncnn' here: its output has the same bits"


def test_deepsparse_needs_a_python(monkeypatch):
    monkeypatch.delenv(deepsparse.PYTHON, raising=False)
    with pytest.raises(CannotRun, match=r"^needs a Python of its own: .*/pip install deepsparse==1\.8\.0"):
        deepsparse.version()
    monkeypatch.setenv(deepsparse.PYTHON, "no/such/python")
    with pytest.raises(CannotRun, match="no/such/python does not run"):
        deepsparse.version()
    monkeypatch.setenv(deepsparse.PYTHON, sys.executable)
    with pytest.raises(CannotRun, match=r"has no deepsparse: python3\.11 -m venv"):
        deepsparse.version()


def test_mkl_is_told_nothing_on_intel(monkeypatch):
    if not torch.backends.mkl.is_available():
        pytest.skip("this torch was built without MKL")
    monkeypatch.setattr(mkl_as_intel, "vendor", lambda cpuinfo: "GenuineIntel")
    with pytest.raises(CannotRun, match="this CPU is Intel: torch's MKL takes its fast path already"):
        mkl_as_intel.version()
    monkeypatch.setattr(mkl_as_intel, "vendor", lambda cpuinfo: "AuthenticAMD")
    assert mkl_as_intel.version() == torch.__version__


def test_vendor():
    assert (
        mkl_as_intel.vendor("processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 26\n") == "AuthenticAMD"
    )
    assert mkl_as_intel.vendor("processor\t: 0\nFeatures\t: asimd\n") == ""


@needs_compiler
@pytest.mark.parametrize("name", [mkl_as_intel.NAME, mkl_as_intel.PACKED])
def test_mkl_as_intel_computes_with_the_library(name, monkeypatch, tmp_path):
    if not torch.backends.mkl.is_available():
        pytest.skip("this torch was built without MKL")
    monkeypatch.setenv("GREENKERNELS_CACHE", str(tmp_path))
    task = linear_task(33)
    contender = mkl_as_intel.build(name, task)  # on any CPU: only where it pays is a matter of version()
    assert relative_error(run(contender, inputs_of(task)), exact(task, inputs_of(task))) <= TOLERANCE
    assert ctypes.CDLL(str(tmp_path / "mkl_as_intel.so")).mkl_serv_intel_cpu_true() == 1
    assert os.listdir(tmp_path) == ["mkl_as_intel.so"]


@needs_compiler
def test_compiled_code_that_does_not_run_is_noticed():
    task = MatmulTask(torch.ones(3, 4), torch.ones(4, 5))
    contender = torch_compiled.build(task)
    assert contender.proof() is None
    with torch.compiler.set_stance("force_eager"):
        run(contender, inputs_of(task))
    assert contender.proof() == "1 of 2 calls ran no compiled code"


@needs_compiler
def test_more_are_compiled_than_dynamo_keeps_of_one_function():
    tasks = [MatmulTask(torch.ones(n, 4), torch.ones(4, 5)) for n in range(1, 11)]  # its limit is 8
    compiled = [torch_compiled.build(task) for task in tasks]
    for task, contender in zip(tasks, compiled, strict=True):
        assert run(contender, inputs_of(task)).shape == (task.a.shape[0], 5)
        assert contender.proof() is None
