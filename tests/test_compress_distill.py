"""gk.compress: losses of distillation against their formulas, the Distiller in loops, checkpoints, transfer by name."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import greenkernels as gk
from greenkernels.compress import attention_loss, hint_loss, logit_loss


def networks():
    student = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
    teacher = nn.Sequential(
        nn.Conv2d(1, 9, 3), nn.ReLU(), nn.BatchNorm2d(9), nn.Flatten(), nn.Linear(324, 10)
    )
    return student, teacher


def batches(count=3, size=5):
    return [(torch.randn(size, 1, 8, 8), torch.randint(10, (size,))) for _ in range(count)]


# --- losses


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("shape", [(1, 2), (7, 10), (2, 3, 5)])
def test_logit_loss_is_the_divergence_of_softened_classes(shape, temperature):
    student, teacher = torch.randn(2, *shape, dtype=torch.double)
    p, q = (torch.softmax(x / temperature, -1) for x in (teacher, student))
    want = temperature**2 * (p * (p.log() - q.log())).sum(-1).mean()
    torch.testing.assert_close(logit_loss(student, teacher, temperature), want)
    assert float(logit_loss(student, student, temperature)) == pytest.approx(0, abs=1e-15)


def test_gradients_keep_their_size_with_temperature():
    student, teacher = torch.randn(2, 6, 10, dtype=torch.double) * 0.01

    def size(temperature):
        own = student.clone().requires_grad_()
        logit_loss(own, teacher, temperature).backward()
        return own.grad.norm()

    # For small logits the gradient is (student - teacher) / classes at any temperature, but for terms in 1 / T.
    assert size(20.0) == pytest.approx(size(5.0).item(), rel=0.01)


def test_attention_loss_is_that_of_the_paper():
    student, teacher = (
        torch.randn(3, 4, 5, 6, dtype=torch.double),
        torch.randn(3, 7, 5, 6, dtype=torch.double),
    )
    total = 0.0
    for own, wanted in zip(student, teacher, strict=True):
        a, b = own.square().sum(0).flatten(), wanted.square().sum(0).flatten()
        total += (a / a.norm() - b / b.norm()).square().sum()
    torch.testing.assert_close(attention_loss(student, teacher), total / 3)


@pytest.mark.parametrize("places", [(9,), (5, 6), (3, 4, 2)])
def test_attention_of_other_sizes_is_averaged(places):
    teacher = torch.rand(2, 3, *places)
    student = teacher
    for dim in range(2, 2 + len(places)):
        student = student.repeat_interleave(2, dim)
    assert float(attention_loss(student, teacher)) < 1e-12


def test_losses_pass_gradcheck():
    student, teacher = torch.randn(2, 3, 4, 2, 2, dtype=torch.double)
    student.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: attention_loss(x, teacher), student)
    assert torch.autograd.gradcheck(lambda x: logit_loss(x, teacher), student)
    assert torch.autograd.gradcheck(lambda x: hint_loss(x, teacher), student)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: logit_loss(torch.zeros(2, 3), torch.zeros(2, 4)), r"logit_loss: .* \(2, 4\), got \(2, 3\)"),
        (lambda: logit_loss(torch.zeros(2, 3), torch.zeros(2, 3), 0), "temperature must be above 0, got 0"),
        (lambda: hint_loss(torch.zeros(2, 3), torch.zeros(2, 4)), "hint_loss: student must have the shape"),
        (lambda: attention_loss(torch.zeros(2, 3), torch.zeros(2, 3)), "must be maps"),
        (lambda: attention_loss(torch.zeros(2, 3, 4), torch.zeros(3, 3, 4)), "of one batch"),
    ],
)
def test_losses_refuse_what_does_not_fit(call, said):
    with pytest.raises(ValueError, match=said):
        call()


# --- the distiller


def test_the_distiller_adds_up_what_was_asked_for():
    student, teacher = networks()
    x, _ = batches(1)[0]
    distiller = gk.compress.Distiller(
        student, teacher, x, logits=0.5, temperature=3.0, hints={"1": "2"}, attention={"0": "0"}
    )
    output = distiller(x)
    torch.testing.assert_close(output, student(x))
    parts = distiller.losses()
    assert list(parts) == ["logits", "hint 1", "attention 0"]
    with torch.no_grad():
        features = teacher[:3](x)
        torch.testing.assert_close(parts["logits"], 0.5 * logit_loss(student(x), teacher(x), 3.0))
        torch.testing.assert_close(
            parts["hint 1"], hint_loss(distiller.adapters["1"](student[:2](x)), features)
        )
        torch.testing.assert_close(parts["attention 0"], attention_loss(student[0](x), teacher[0](x)))


def test_the_teacher_is_not_trained_moved_or_saved():
    student, teacher = networks()
    distiller = gk.compress.Distiller(student, teacher.train(), batches(1)[0][0], hints={"1": "2"})
    before = copy.deepcopy(teacher.state_dict())
    assert not any(p is q for p in distiller.parameters() for q in teacher.parameters())
    assert {key.partition(".")[0] for key in distiller.state_dict()} == {"student", "adapters"}
    gk.compress.distill(distiller.train(), batches(), epochs=1, loss=F.cross_entropy)
    assert not teacher.training
    assert all(torch.equal(value, before[key]) for key, value in teacher.state_dict().items())
    assert all(p.grad is None for p in teacher.parameters())
    assert not any(module._forward_hooks for module in (*student.modules(), *teacher.modules()))


def test_a_loop_of_ones_own_trains_student_and_adapters():
    student, teacher = networks()
    data = batches()
    distiller = gk.compress.Distiller(student, teacher, data[0][0], hints={"1": "2"}, attention={"0": "0"})
    before = copy.deepcopy(distiller.state_dict())
    optimizer = torch.optim.SGD(distiller.parameters(), 0.1)
    for x, y in data:
        loss = F.cross_entropy(distiller(x), y) + distiller.loss()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert all(not torch.equal(value, before[key]) for key, value in distiller.state_dict().items())
    copy.deepcopy(distiller)


def test_features_in_the_last_dimension_get_a_linear_adapter():
    student, teacher = (
        nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 3)),
        nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 3)),
    )
    distiller = gk.compress.Distiller(student, teacher, torch.randn(2, 7, 6), hints={"0": "0"}, logits=0)
    assert isinstance(distiller.adapters["0"], nn.Linear)
    distiller(torch.randn(3, 7, 6))
    assert list(distiller.losses()) == ["hint 0"]


def test_the_student_keeps_its_mode_and_statistics():
    student = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).train()
    before = student[1].running_mean.clone()
    distiller = gk.compress.Distiller(student, copy.deepcopy(student), torch.randn(2, 1, 8, 8))
    assert student.training
    assert distiller.training
    assert torch.equal(student[1].running_mean, before)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"hints": {"9": "0"}}, "student has no layer '9', but 0, 1, 2, 3"),
        ({"attention": {"0": "x"}}, "teacher has no layer 'x'"),
        ({"hints": {"2": "0"}}, r"'2' of the student must have features of the places of '0'"),
        ({"attention": {"2": "0"}}, "attention_loss: student and teacher must be maps"),
        ({"temperature": -1.0}, "temperature must be above 0, got -1.0"),
    ],
)
def test_the_distiller_says_what_does_not_fit(options, said):
    with pytest.raises(ValueError, match=said):
        gk.compress.Distiller(*networks(), batches(1)[0][0], **options)


def test_a_loss_belongs_to_one_call():
    distiller = gk.compress.Distiller(*networks(), batches(1)[0][0])
    with pytest.raises(RuntimeError, match="call it on a batch before its loss is asked for"):
        distiller.loss()


# --- the loop


class Stopped(Exception):
    pass


def test_a_loop_that_was_stopped_goes_on_to_the_same_network(tmp_path):
    student, teacher = networks()
    data = batches()

    def fresh():
        torch.manual_seed(1)  # adapters begin alike
        return gk.compress.Distiller(copy.deepcopy(student), teacher, data[0][0], hints={"1": "2"}).train()

    torch.manual_seed(0)
    whole = fresh()
    losses = gk.compress.distill(whole, data, epochs=3, loss=F.cross_entropy)
    assert losses[2] < losses[0]

    calls = 0

    def stops(output, target):
        nonlocal calls
        calls += 1
        if calls == 5:  # in the second epoch
            raise Stopped
        return F.cross_entropy(output, target)

    path = tmp_path / "deep" / "state.pt"
    with pytest.raises(Stopped):
        gk.compress.distill(fresh(), data, epochs=3, loss=stops, checkpoint=path)
    resumed = fresh()
    assert gk.compress.distill(resumed, data, epochs=3, loss=F.cross_entropy, checkpoint=path) == losses
    for key, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[key], value)
    assert [file.name for file in path.parent.iterdir()] == ["state.pt"]
    assert gk.compress.distill(fresh(), [], epochs=3, checkpoint=path) == losses  # nothing is left to do


def test_the_student_learns_what_the_teacher_says():
    torch.manual_seed(0)
    teacher = nn.Linear(6, 4)
    student = nn.Linear(6, 4)
    data = [(torch.randn(32, 6), None) for _ in range(20)]
    distiller = gk.compress.Distiller(student, teacher, data[0][0])
    optimizer = torch.optim.Adam(distiller.parameters(), 0.02)
    losses = gk.compress.distill(distiller, data, epochs=20, optimizer=optimizer)
    assert losses[-1] < 0.01 * losses[0]
    x = torch.randn(200, 6)
    assert (student(x).argmax(1) == teacher(x).argmax(1)).float().mean() > 0.95


def test_a_loss_that_is_no_number_ends_the_loop_and_keeps_the_checkpoint(tmp_path):
    distiller = gk.compress.Distiller(*networks(), batches(1)[0][0])
    data, path = batches(), tmp_path / "state.pt"
    gk.compress.distill(distiller, data, epochs=1, checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="the loss must be a number, got nan at step 0 of epoch 1"):
        gk.compress.distill(
            distiller,
            data,
            epochs=2,
            loss=lambda output, target: output.sum() * float("nan"),
            checkpoint=path,
        )
    assert path.read_bytes() == before
    with pytest.raises(ValueError, match="batches must hold at least one batch in every epoch, got none"):
        gk.compress.distill(distiller, iter(()), epochs=1)


# --- transfer


def test_transfer_copies_what_fits_and_says_the_rest():
    source = nn.ModuleDict({"body": nn.Linear(3, 4), "head": nn.Linear(4, 5), "old": nn.Linear(2, 2)})
    target = nn.ModuleDict({"body": nn.Linear(3, 4), "head": nn.Linear(4, 7), "new": nn.Linear(1, 1)})
    done = gk.compress.transfer(source, target)
    assert torch.equal(target["body"].weight, source["body"].weight)
    assert done.copied == {"body.weight": "body.weight", "body.bias": "body.bias"}
    assert done.shapes == {"head.weight": ((5, 4), (7, 4)), "head.bias": ((5,), (7,))}
    assert done.missing == ("new.weight", "new.bias")
    assert done.left == ("old.weight", "old.bias")
    assert "2 copied" in str(done)
    assert "shape of head.bias: (5,) in the source, (7,) here" in str(done)


def test_transfer_by_renamed_beginnings_and_by_shape():
    source = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 4))
    target = nn.ModuleDict({"a": nn.Linear(3, 4), "b": nn.BatchNorm1d(4), "c": nn.Linear(4, 4)})
    done = gk.compress.transfer(source.state_dict(), target, rename={"a.": "0.", "b.": "1.", "c.": "2."})
    assert len(done.copied) == len(source.state_dict())
    assert (done.missing, done.left, done.shapes) == ((), (), {})
    blank = nn.ModuleDict({"x": nn.Linear(3, 4), "y": nn.Linear(4, 4)}).double()
    done = gk.compress.transfer(source, blank, by_shape=True)
    assert done.copied["x.weight"] == "0.weight"
    assert done.copied["y.weight"] == "2.weight"
    assert blank["x"].weight.dtype == torch.double
    assert torch.equal(blank["y"].weight, source[2].weight.double())
