"""The balancing methods against values computed by hand or from their papers' formulas, and their properties."""

import math
from types import SimpleNamespace

import pytest
import torch

from losses.balancing import BALANCINGS, build_balancing
from losses.balancing.base import INTERMEDIATE_WEIGHT, Balancing
from losses.reduction import MeanLoss
from tasks import TASKS
from utils.errors import UserError

NAMES = tuple(TASKS)  # depth, normal, segmentation
OPTIONS = {
    "loss_weights": {"depth": 1, "normal": 2, "segmentation": 2},
    "seed": 7,
    "potential": {"depth": 0.8087, "normal": 0.4572, "segmentation": 0.4453},
    "margin": 0.05,
    "focusing_factor": 2.0,
}
GEOMETRIC = ["geometric", "dwa-geometric", "rlw-geometric", "dtp-geometric", "achievement"]
GRADIENT_METHODS = [name for name, method in BALANCINGS.items() if method.needs_torchjd]


def method(name: str, tasks: tuple[str, ...] = NAMES, **options) -> Balancing:
    return build_balancing(name, tasks, **(OPTIONS | options))


def task_losses(values: list[torch.Tensor], counts: tuple[float, ...] = (5, 5, 5)) -> dict[str, MeanLoss]:
    return {
        task: MeanLoss(value, torch.tensor(float(count)))
        for task, value, count in zip(NAMES, values, counts, strict=True)
    }


def total_loss(balancing: Balancing, final: dict, intermediate: dict | None = None) -> torch.Tensor:
    """The total loss of a step with a single batch."""
    balancing.begin_step()
    return balancing(final, intermediate or {}, torch.ones(len(balancing.tasks)))


def leaves(*values: float) -> list[torch.Tensor]:
    return [torch.tensor(value, requires_grad=True) for value in values]


def gradient(balancing: Balancing, values: list[torch.Tensor], counts: tuple[float, ...] = (5, 5, 5)) -> tuple:
    """The total loss, and its derivatives with respect to the task losses."""
    total = total_loss(balancing, task_losses(values, counts))
    return total.item(), [g.item() for g in torch.autograd.grad(total, values)]


def accuracies(depth: float | None, normal: float | None, segmentation: float | None) -> dict:
    return {"depth": depth, "normal": normal, "segmentation": segmentation}


def test_method_names():
    """Names from the released code and the literature; the default comes first."""
    assert list(BALANCINGS) == [
        *("uncertainty", "fixed", "geometric", "dwa", "dwa-geometric", "rlw", "rlw-geometric", "dtp", "dtp-geometric"),
        *("gradnorm", "achievement", "achievement-arithmetic"),
        *("upgrad", "pcgrad", "cagrad", "mgda", "imtl-g", "aligned-mtl", "nash-mtl"),
    ]


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64])
def test_buffers_that_bad_steps_do_not_reset_are_rejected(dtype):
    balancing = method("fixed")
    balancing.register_buffer("count", torch.zeros((), dtype=dtype))
    with pytest.raises(TypeError, match="counts"):
        balancing.register_buffer("counts", torch.zeros(3, dtype=dtype))


def test_geometric_mean():
    """(2 * 3 * 4)^(1/3), with derivatives L / (3 L_t)."""
    total, derivatives = gradient(method("geometric"), leaves(2.0, 3.0, 4.0))
    assert total == pytest.approx(2.884499, rel=1e-6)
    assert derivatives == pytest.approx([0.480750, 0.320500, 0.240375], rel=1e-5)


def test_weighted_geometric_mean():
    """2^0.5 * 3^0.3 * 4^0.2."""
    balancing = method("geometric")
    balancing._weights.copy_(torch.tensor([0.5, 0.3, 0.2]))
    total, derivatives = gradient(balancing, leaves(2.0, 3.0, 4.0))
    assert total == pytest.approx(2.594558, rel=1e-6)
    assert derivatives == pytest.approx([0.5 * total / 2, 0.3 * total / 3, 0.2 * total / 4], rel=1e-5)


@pytest.mark.parametrize("name", GEOMETRIC)
def test_geometric_forms_exclude_tasks_without_labels(name):
    """sqrt(2 * 3) if weights are equal; the third derivative is 0 and the others are finite."""
    total, derivatives = gradient(method(name), leaves(2.0, 3.0, 0.0), counts=(5, 5, 0))
    if name != "rlw-geometric":
        assert total == pytest.approx(2.449490, rel=1e-6)
    assert derivatives[2] == 0
    assert all(0 < derivative < math.inf for derivative in derivatives[:2])


@pytest.mark.parametrize("name", GEOMETRIC)
def test_geometric_forms_are_invariant_to_loss_scales(name):
    """Scaling one loss does not change the ratios of the gradients w_t / L_t * dL_t."""
    balancing = method(name)
    values = leaves(2.0, 3.0, 4.0)
    plain_total, plain = gradient(balancing, values)
    scaled = total_loss(balancing, task_losses([1000 * values[0], *values[1:]]))
    derivatives = [g.item() for g in torch.autograd.grad(scaled, values)]
    exponent = balancing.weights()["depth"]
    assert scaled.item() == pytest.approx(plain_total * 1000**exponent, rel=1e-5)
    assert [d / derivatives[0] for d in derivatives] == pytest.approx([d / plain[0] for d in plain], rel=1e-5)


@pytest.mark.parametrize("name", BALANCINGS)
def test_zero_losses(name):
    """If all losses are 0, the total is 0 (log-variances of 0 add nothing) and all derivatives are finite."""
    total, derivatives = gradient(method(name), leaves(0.0, 0.0, 0.0))
    assert total == pytest.approx(0, abs=1e-9)
    assert all(math.isfinite(derivative) for derivative in derivatives)


@pytest.mark.parametrize("name", BALANCINGS)
def test_single_task(name):
    """The total is the task's loss times a constant."""
    values = {"depth": MeanLoss(torch.tensor(3.0, requires_grad=True), torch.tensor(5.0))}
    total = total_loss(method(name, tasks=("depth",)), values)
    constant = {"uncertainty": 10}.get(name, 1)
    assert total.item() == pytest.approx(3 * constant, rel=1e-5)


@pytest.mark.parametrize("name", [name for name in BALANCINGS if name != "uncertainty"])
def test_weight_of_intermediate_losses(name):
    """All methods but the paper's balance L_t = final + 0.1 * intermediate."""
    final, intermediate = leaves(2.0, 3.0, 4.0), leaves(5.0, 6.0, 7.0)
    total = total_loss(method(name), task_losses(final), task_losses(intermediate))
    joint = [a.item() + INTERMEDIATE_WEIGHT * b.item() for a, b in zip(final, intermediate, strict=True)]
    assert total.item() == pytest.approx(total_loss(method(name), task_losses(leaves(*joint))).item(), rel=1e-6)
    by_final, by_intermediate = (
        torch.autograd.grad(total, values, retain_graph=True) for values in (final, intermediate)
    )
    assert [g.item() for g in by_intermediate] == pytest.approx([0.1 * g.item() for g in by_final], rel=1e-5)


def test_fixed_weights():
    total, derivatives = gradient(method("fixed"), leaves(0.5, 0.25, 2.0))
    assert total == pytest.approx(0.5 + 2 * 0.25 + 2 * 2.0)
    assert derivatives == [1, 2, 2]
    other = method("fixed", loss_weights={"depth": 1.0, "normal": 3.0, "segmentation": 0.0})
    assert other.weights() == {"depth": 1, "normal": 3, "segmentation": 0}
    assert gradient(other, leaves(0.5, 0.25, 2.0))[0] == pytest.approx(1.25)


def test_achievement_over_three_validations():
    """Values of the released code with these potentials (depth, normal, segmentation)."""
    balancing = method("achievement")
    assert list(balancing.weights().values()) == pytest.approx([1 / 3] * 3)
    expected = [
        ((0.50, 0.20, 0.10), (0.266420, 0.316194, 0.417386)),
        ((0.70, 0.35, 0.30), (0.273037, 0.318691, 0.408272)),
        ((0.80, 0.45, 0.44), (0.283567, 0.322105, 0.394329)),
    ]
    for new, weights in expected:
        balancing.validated(accuracies(*new))
        assert list(balancing.weights().values()) == pytest.approx(weights, abs=1e-6)
    assert balancing.accuracies.tolist() == pytest.approx([0.548, 0.2385, 0.152])


def test_achievement_by_hand():
    """Without margin: r = (1 - 0.4 / 1)^3 = 0.216 and (1 - 0.25 / 0.5)^3 = 0.125."""
    balancing = method(
        *("achievement-arithmetic", ("depth", "normal")),
        **{"potential": {"depth": 1.0, "normal": 0.5}, "margin": 0.0, "focusing_factor": 3.0},
    )
    balancing.validated({"depth": 0.4, "normal": 0.25})
    first = math.exp(0.216) / (math.exp(0.216) + math.exp(0.125))
    assert balancing.weights() == pytest.approx({"depth": first, "normal": 1 - first})


@pytest.mark.parametrize("name", ["achievement", "achievement-arithmetic"])
@pytest.mark.parametrize("achieved", NAMES)
def test_achieved_potential_gives_smallest_weight(name, achieved):
    balancing = method(name)
    balancing.validated({task: OPTIONS["potential"][task] * (1 if task == achieved else 0.5) for task in NAMES})
    weights = balancing.weights()
    assert min(weights, key=weights.get) == achieved
    assert sum(weights.values()) == pytest.approx(1)


def test_weight_is_constant_beyond_potential():
    """The gap is 0 at 1.05 times the potential (the margin), and beyond."""
    weights = []
    for factor in (1.05, 1.2):
        balancing = method("achievement")
        balancing.validated(accuracies(min(1, 0.8087 * factor), 0.2, 0.1))
        weights.append(balancing.weights())
    assert weights[0] == pytest.approx(weights[1], rel=1e-4)


@pytest.mark.parametrize("missing", [None, math.nan])
@pytest.mark.parametrize("name", ["achievement", "achievement-arithmetic", "dtp", "dtp-geometric"])
def test_missing_accuracy_is_ignored(name, missing):
    balancing = method(name)
    balancing.validated(accuracies(0.5, 0.2, 0.1))
    balancing.validated(accuracies(0.5, 0.2, missing))
    assert balancing.accuracies.tolist() == pytest.approx([0.5, 0.2, 0.1])
    assert all(math.isfinite(weight) for weight in balancing.weights().values())


def test_achievement_weights_are_equal_until_all_accuracies_are_known():
    balancing = method("achievement")
    balancing.validated(accuracies(0.5, 0.2, None))
    assert list(balancing.weights().values()) == pytest.approx([1 / 3] * 3)


def test_dtp():
    """Values of the released code for gamma 0.5 and accuracies 0.1, 0.5, 0.2, then 0.3, 0.7, 0.35, smoothed."""
    arithmetic, geometric = (method(name, focusing_factor=0.5) for name in ("dtp", "dtp-geometric"))
    assert list(arithmetic.weights().values()) == [1, 1, 1]
    for new, weights in (
        ((0.1, 0.5, 0.2), [2.184424, 0.490129, 1.439525]),
        ((0.3, 0.7, 0.35), [1.988984, 0.453054, 1.361889]),
    ):
        for balancing in (arithmetic, geometric):
            balancing.validated(accuracies(*new))
        assert list(arithmetic.weights().values()) == pytest.approx(weights, rel=1e-5)
        exponents = [weight / sum(weights) for weight in weights]
        assert list(geometric.weights().values()) == pytest.approx(exponents, rel=1e-5)


def test_dtp_with_zero_accuracy():
    """It counts as 0.001: the weight is -ln 0.001 * 0.999^2, not 46."""
    balancing = method("dtp")
    balancing.validated(accuracies(0.0, 1.0, 0.5))
    assert list(balancing.weights().values()) == pytest.approx([0.999**2 * 6.907755, 0, 0.25 * math.log(2)], rel=1e-5)


def train_epoch(balancing: Balancing, *steps: tuple[float, float, float], counts: tuple = (5, 5, 5)) -> None:
    for losses in steps:
        total_loss(balancing, task_losses(leaves(*losses), counts))
        balancing.end_step()
    balancing.end_epoch()


def test_dwa():
    """Ratios 0.5, 0.9 and 1 of mean losses give 0.8558, 1.0453 and 1.0989; the number of steps does not matter."""
    arithmetic, geometric = method("dwa"), method("dwa-geometric")
    for balancing in (arithmetic, geometric):
        train_epoch(balancing, (1.0, 2.0, 3.0), (3.0, 2.0, 1.0))  # means 2, 2, 2
        assert len(set(balancing.weights().values())) == 1, "equal after one epoch"
        train_epoch(balancing, (1.0, 1.8, 2.0))
    assert list(arithmetic.weights().values()) == pytest.approx([0.8558, 1.0453, 1.0989], abs=1e-4)
    thirds = [0.8558 / 3, 1.0453 / 3, 1.0989 / 3]
    assert list(geometric.weights().values()) == pytest.approx(thirds, abs=1e-4)


def test_dwa_without_labels():
    """A step without labels is not a loss of 0; an epoch without labels does not change a task's means."""
    balancing, other = method("dwa"), method("dwa")
    for dwa in (balancing, other):
        train_epoch(dwa, (2.0, 2.0, 2.0))
    total_loss(balancing, task_losses(leaves(0.0, 1.8, 2.0), (0, 5, 5)))
    balancing.end_step()
    train_epoch(balancing, (1.0, 1.8, 2.0))
    train_epoch(other, (1.0, 1.8, 2.0))
    assert balancing.weights() == pytest.approx(other.weights())
    train_epoch(balancing, (0.0, 1.8, 2.0), counts=(0, 5, 5))
    assert all(math.isfinite(weight) for weight in balancing.weights().values())


def test_dwa_with_several_batches_per_step():
    """The labels of a task may all be in the first of them."""
    balancing, other = method("dwa"), method("dwa")
    for dwa in (balancing, other):
        train_epoch(dwa, (2.0, 2.0, 2.0))
    balancing.begin_step()
    balancing(task_losses(leaves(1.0, 1.8, 2.0)), {}, torch.tensor([1.0, 0.5, 0.5]))
    balancing(task_losses(leaves(0.0, 1.8, 2.0), (0, 5, 5)), {}, torch.tensor([0.0, 0.5, 0.5]))
    balancing.end_step()
    balancing.end_epoch()
    train_epoch(other, (1.0, 1.8, 2.0))
    assert balancing.weights() == pytest.approx(other.weights())


@pytest.mark.parametrize("name", ["rlw", "rlw-geometric"])
def test_random_weights(name):
    """They sum to one, depend only on step and seed, and favor no task."""
    balancing, same_seed, other_seed = method(name), method(name), method(name, seed=8)
    drawn = []
    for _ in range(2000):
        weights = list(balancing.weights().values())
        assert sum(weights) == pytest.approx(1)
        assert weights == list(same_seed.weights().values())
        assert weights != list(other_seed.weights().values())
        drawn.append(weights)
        for rlw in (balancing, same_seed, other_seed):
            rlw.end_step()
    assert len({tuple(weights) for weights in drawn}) == 2000
    assert torch.tensor(drawn).mean(dim=0).tolist() == pytest.approx([1 / 3] * 3, abs=0.02)


def test_gradnorm_by_hand():
    """Two tasks, gradient norms 3 and 1.

    First step: the rates are equal and the target is 2 for both, so the weights change by -0.075 and 0.025. Second
    step: L / L(0) = 0.5 and 1, so the rates are 2/3 and 4/3.
    """
    balancing = method("gradnorm", tasks=("depth", "normal"))
    gramian = torch.tensor([[9.0, 1.0], [1.0, 1.0]])

    def step(depth: float, normal: float) -> list[float]:
        losses = {
            task: MeanLoss(torch.tensor(x), torch.tensor(5.0)) for task, x in (("depth", depth), ("normal", normal))
        }
        total_loss(balancing, losses)
        balancing.update_from_gramian(gramian)
        balancing.end_step()
        return list(balancing.weights().values())

    w1, w2 = 1 - 0.025 * 3, 1 + 0.025
    w1, w2 = 2 * w1 / (w1 + w2), 2 * w2 / (w1 + w2)
    assert step(2.0, 1.0) == pytest.approx([w1, w2], rel=1e-5)
    mean = (3 * w1 + w2) / 2
    targets = mean * (2 / 3) ** 1.5, mean * (4 / 3) ** 1.5
    new = [w1 - 0.075 * math.copysign(1, 3 * w1 - targets[0]), w2 - 0.025 * math.copysign(1, w2 - targets[1])]
    assert step(1.0, 1.0) == pytest.approx([2 * w / sum(new) for w in new], rel=1e-5)


def test_gradnorm_without_labels():
    """Norms 3 and 1, no labels of the third task: the targets are the mean of two, 2; the third weight stays 1.

    The first two weights, 0.925 and 1.025, are scaled to a sum of 2.
    """
    balancing = method("gradnorm")
    total_loss(balancing, task_losses(leaves(2.0, 1.0, 0.0), (5, 5, 0)))
    balancing.update_from_gramian(torch.diag(torch.tensor([9.0, 1.0, 0.0])))
    balancing.end_step()
    expected = [2 * 0.925 / 1.95, 2 * 1.025 / 1.95, 1.0]
    assert list(balancing.weights().values()) == pytest.approx(expected, rel=1e-5)


def test_gradnorm_averages_tasks_with_labels():
    """Norms 3 and 2.2: the second is below their mean of 2.6 and gains weight; with a mean of 5.2 / 3 it would lose."""
    balancing = method("gradnorm")
    total_loss(balancing, task_losses(leaves(2.0, 1.0, 0.0), (5, 5, 0)))
    balancing.update_from_gramian(torch.diag(torch.tensor([9.0, 4.84, 0.0])))
    balancing.end_step()
    assert balancing.weights()["normal"] == pytest.approx(2 * (1 + 0.025 * 2.2) / (2 + 0.025 * (2.2 - 3)), rel=1e-5)


def combine(name: str, gradients: torch.Tensor, counts: tuple = (5, 5, 5)) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights of the gradients (T, n), and the combined gradient (n,)."""
    balancing = method(name)
    total_loss(balancing, task_losses(leaves(1.0, 1.0, 1.0), counts))
    weights = balancing.update_from_gramian(gradients @ gradients.T)
    return weights, weights @ gradients


CONFLICTING = torch.tensor([[1.0, 0.0], [-1.0, 1.0], [-0.5, -1.0]])
INDEPENDENT = torch.tensor([[1.0, 0.0, 2.0], [-1.0, 1.0, 0.5], [0.2, -1.0, 3.0]])


def test_mgda():
    """The point of the convex hull nearest to 0: here 0 itself."""
    weights, combined = combine("mgda", CONFLICTING)
    assert weights.tolist() == pytest.approx([0.428571, 0.285714, 0.285714], abs=1e-3)
    assert combined.norm() < 3e-3


def test_imtl_g():
    """The combined gradient has equal projections onto the directions of all gradients."""
    weights, combined = combine("imtl-g", INDEPENDENT)
    assert weights.tolist() == pytest.approx([0.316157, 0.605562, 0.078281], abs=1e-4)
    projections = (combined @ INDEPENDENT.T) / INDEPENDENT.norm(dim=1)
    assert projections.tolist() == pytest.approx([0.923999] * 3, abs=1e-3)


def test_cagrad():
    """The mean gradient (-1/6, 0), plus a vector of c = 0.5 times its length in the direction (1, 0): (-1/12, 0)."""
    _, combined = combine("cagrad", CONFLICTING)
    assert combined.tolist() == pytest.approx([-1 / 12, 0.0], abs=2e-3)


def test_pcgrad():
    """The sum of the projected gradients; only two of them conflict, so the order does not matter."""
    gradients = torch.tensor([[1.0, 0.0, 0.0], [-1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    _, combined = combine("pcgrad", gradients)
    # (1, 0) - (-1/2)(-1, 1) = (0.5, 0.5) and (-1, 1) - (-1)(1, 0) = (0, 1); the third does not change.
    assert combined.tolist() == pytest.approx([0.5, 1.5, 1.0], abs=1e-5)


@pytest.mark.parametrize("name", ["upgrad", "mgda"])
def test_combined_gradient_conflicts_with_no_task(name):
    for gradients in (torch.tensor([[1.0, 0.0], [-1.0, 1.0], [0.5, 0.2]]), INDEPENDENT):
        _, combined = combine(name, gradients)
        assert (gradients @ combined).min() > -1e-3


def test_upgrad_without_conflict_is_the_mean():
    gradients = torch.tensor([[1.0, 0.2], [0.5, 1.0], [0.3, 0.3]])
    weights, combined = combine("upgrad", gradients)
    assert weights.tolist() == pytest.approx([1 / 3] * 3, abs=1e-3)
    assert combined.tolist() == pytest.approx(gradients.mean(dim=0).tolist(), abs=1e-3)


def test_aligned_mtl_of_orthogonal_gradients():
    """All are scaled to the length of the shortest; their mean is then (1, 1, 1) / 3."""
    _, combined = combine("aligned-mtl", torch.diag(torch.tensor([1.0, 2.0, 5.0])))
    assert combined.tolist() == pytest.approx([1 / 3] * 3, rel=1e-3)


def test_nash_mtl():
    """The bargaining solution: G^T G alpha = 1 / alpha, up to a scale that limits the norm of the gradient to 1."""
    weights, combined = combine("nash-mtl", INDEPENDENT)
    gains = (INDEPENDENT @ combined) * weights
    assert (gains / gains.mean()).tolist() == pytest.approx([1, 1, 1], abs=0.02)
    assert combined.norm() <= 1 + 1e-4


@pytest.mark.parametrize("name", GRADIENT_METHODS)
def test_gradient_methods_exclude_tasks_without_labels(name):
    """With its gradient of 0, some methods would give such a task all the weight."""
    gradients = INDEPENDENT.clone()
    gradients[1] = 0
    weights, combined = combine(name, gradients, counts=(5, 0, 5))
    assert weights[1] == 0
    assert weights[[0, 2]].isfinite().all()
    assert combined.norm() > 0.1


@pytest.mark.parametrize("name", GRADIENT_METHODS)
def test_gradient_methods_with_nothing_to_combine(name):
    """Labels of only one of three tasks, a single task, and gradients of 0."""
    weights, _ = combine(name, INDEPENDENT, counts=(0, 5, 0))
    assert weights.tolist() == [0, 1, 0]
    single = method(name, tasks=("depth",))
    total_loss(single, {"depth": MeanLoss(torch.tensor(1.0), torch.tensor(5.0))})
    assert single.update_from_gramian(torch.tensor([[4.0]])).tolist() == [1]
    assert combine(name, torch.zeros(3, 3))[0].isfinite().all()


def test_nash_mtl_rejects_torchjd_without_its_state(monkeypatch):
    """Its starting point could not be restored: a resumed training would silently differ."""
    aggregation = pytest.importorskip("torchjd.aggregation")
    monkeypatch.setattr(aggregation, "NashMTL", lambda **_: SimpleNamespace(weighting=SimpleNamespace()))
    with pytest.raises(UserError, match="torchjd"):
        build_balancing("nash-mtl", tuple(TASKS), seed=0)


@pytest.mark.parametrize("name", [name for name in GRADIENT_METHODS if name != "nash-mtl"])
def test_gradient_methods_are_scale_invariant(name):
    """torchjd's thresholds assume gradients of about unit length; late in training they are much shorter."""
    weights, _ = combine(name, INDEPENDENT)
    assert combine(name, 1e-4 * INDEPENDENT)[0].tolist() == pytest.approx(weights.tolist(), rel=1e-2, abs=1e-3)


def test_pcgrad_order_depends_on_seed_and_step():
    """It neither depends on the global generator nor advances it."""
    gradients = torch.tensor([[1.0, 0.0, 0.1], [-1.0, 0.3, 0.1], [-0.4, -1.0, 0.1]])  # each pair conflicts
    drawn = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        before = torch.get_rng_state()
        drawn.append(combine("pcgrad", gradients)[0].tolist())
        assert torch.equal(torch.get_rng_state(), before)
    assert drawn[0] == drawn[1]
    balancing = method("pcgrad")
    total_loss(balancing, task_losses(leaves(1.0, 1.0, 1.0)))
    weights = set()
    for _ in range(20):
        weights.add(tuple(balancing.update_from_gramian(gradients @ gradients.T).tolist()))
        balancing.end_step()
    assert len(weights) > 1


@pytest.mark.parametrize("name", GRADIENT_METHODS)
def test_torchjd_is_not_installed(name, monkeypatch):
    def missing(module):
        raise ImportError("No module named 'torchjd'")

    monkeypatch.setattr("losses.balancing.gradients.import_module", missing)
    with pytest.raises(UserError, match=r"--balancing.* torchjd .*requirements-extra\.txt"):
        method(name)


@pytest.mark.parametrize("name", BALANCINGS)
def test_state_dict_round_trip(name):
    """A restored method continues like the original, over steps, epochs and validations."""
    first = method(name)
    gramian = INDEPENDENT @ INDEPENDENT.T

    def advance(balancing: Balancing, losses: tuple[float, float, float]) -> None:
        total_loss(balancing, task_losses(leaves(*losses)))
        if balancing.gradient_scope != "none":
            balancing.update_from_gramian(gramian)
        balancing.end_step()

    advance(first, (3.0, 2.0, 1.0))
    first.end_epoch()
    first.validated(accuracies(0.4, 0.1, 0.2))
    advance(first, (2.5, 1.0, 0.8))
    second = method(name)
    second.load_state_dict(first.state_dict())
    for balancing in (first, second):
        advance(balancing, (2.0, 1.5, 0.1))
        balancing.end_epoch()
        balancing.validated(accuracies(0.5, 0.2, 0.3))
        advance(balancing, (1.0, 1.5, 0.1))
    assert first.weights() == second.weights()
    assert gradient(first, leaves(1.0, 2.0, 3.0)) == gradient(second, leaves(1.0, 2.0, 3.0))


def test_options_of_other_methods_are_ignored():
    balancing = build_balancing("geometric", NAMES, **OPTIONS, batch_size=4)
    assert balancing.weights() == pytest.approx(dict.fromkeys(NAMES, 1 / 3))
