"""What is kept is right, and what is to be freed is freed."""

import weakref

import pytest
import torch
import torch.nn.functional as F

from networks.memory import KeptWhileUnchanged, not_kept


def test_a_tensor_not_kept_is_freed_and_gives_the_same_gradients():
    x = torch.randn(2, 3, 8, 8).requires_grad_()
    conv = torch.nn.Conv2d(3, 4, 3)
    expected = torch.autograd.grad(conv(x.sin()).square().sum(), [x, *conv.parameters()])
    made = []

    def make(source: torch.Tensor) -> torch.Tensor:
        made.append(True)
        return source.sin()

    large = x.sin()
    storage = weakref.ref(large.untyped_storage())
    with not_kept(large, make, x):
        y = conv(large)
    del large
    assert storage() is None
    assert not made
    gradients = torch.autograd.grad(y.square().sum(), [x, *conv.parameters()])
    assert made
    assert all(torch.equal(a, b) for a, b in zip(gradients, expected, strict=True))


def test_other_tensors_are_kept_as_they_are():
    x, other = torch.randn(4).requires_grad_(), torch.randn(4).requires_grad_()
    with not_kept(x, lambda: torch.zeros(4)):
        y = (other * 2.0).exp()
    assert torch.allclose(torch.autograd.grad(y.sum(), other)[0], 2 * (2 * other).exp())


def test_a_changed_source_is_noticed():
    x, weight = torch.randn(4), torch.randn(4).requires_grad_()
    large = x.sin()
    with not_kept(large, torch.sin, x):
        y = large * weight
    x += 1
    with pytest.raises(RuntimeError, match="changed in place"):
        y.sum().backward()


def test_kept_until_a_weight_changes():
    """By an optimiser, by loading a state, by being replaced, by averaging; never without need."""
    layer = torch.nn.Linear(2, 2)
    kept, calls = KeptWhileUnchanged(), []

    def value() -> torch.Tensor:
        with torch.no_grad():
            return kept.get(lambda: calls.append(True) or layer.weight * 2, [layer.weight])

    def changed() -> None:
        assert torch.equal(value(), 2 * layer.weight)
        before = len(calls)
        assert torch.equal(value(), 2 * layer.weight)
        assert len(calls) == before, "made anew without need"

    changed()
    optimizer = torch.optim.AdamW(layer.parameters(), lr=1.0, fused=True)
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    changed()
    layer.load_state_dict({key: torch.randn_like(x) for key, x in layer.state_dict().items()})
    changed()
    layer.weight = torch.nn.Parameter(torch.randn(2, 2))
    changed()
    averaged = torch.optim.swa_utils.AveragedModel(layer, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.5))
    layer = averaged.module
    changed()
    averaged.update_parameters(torch.nn.Linear(2, 2))
    averaged.update_parameters(torch.nn.Linear(2, 2))
    changed()
    assert len(calls) == 5, "the averaged weights start equal"


def test_kept_in_the_type_that_is_asked_for():
    weight, kept = torch.randn(4, 4), KeptWhileUnchanged()

    def value() -> torch.Tensor:
        return kept.get(lambda: F.linear(weight, weight), [weight])

    assert value().dtype == torch.float32
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype):
            assert value().dtype == dtype
    assert value().dtype == torch.float32
    weight = weight.double()
    assert value().dtype == torch.float64


def test_nothing_is_kept_of_a_value_that_could_not_be_made():
    weight, kept = torch.ones(2), KeptWhileUnchanged()

    def fail() -> torch.Tensor:
        raise MemoryError

    assert kept.get(lambda: weight * 2, [weight]).tolist() == [2, 2]
    weight += 4
    with pytest.raises(MemoryError):
        kept.get(fail, [weight])
    assert kept.get(lambda: weight * 2, [weight]).tolist() == [10, 10]


def test_kept_in_inference_mode():
    with torch.inference_mode():
        weight, kept = torch.ones(2), KeptWhileUnchanged()
        assert kept.get(lambda: weight * 2, [weight]).tolist() == [2, 2]
        weight += 1
        assert kept.get(lambda: weight * 2, [weight]).tolist() == [4, 4]
