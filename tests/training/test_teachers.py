"""The predictions of teachers replace missing ground truth."""

import pytest
import torch

from losses.balancing import build_balancing
from losses.reduction import LossSum
from tests.tiny import BALANCING_OPTIONS, TASKS, TinyMultiTask, loss_term, tiny_batch, tiny_network, without_labels
from training.objective import TrainingObjective

BATCH = tiny_batch(range(4))


def difference(prediction: torch.Tensor, pseudo: torch.Tensor, mask: torch.Tensor) -> LossSum:
    """|prediction - pseudo label| over the images of the mask."""
    errors = (prediction - pseudo).abs().mean(dim=1)[mask]
    return LossSum(errors.sum(), torch.tensor(errors.numel()))


def teacher_of(task: str) -> TinyMultiTask:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return TinyMultiTask(tasks=(task,), intermediate=False).eval()


def objective_with(teachers: dict) -> TrainingObjective:
    network = tiny_network(intermediate=False)
    terms = {task: loss_term(task)._replace(pseudo_loss=difference) for task in TASKS}
    balancing = build_balancing("fixed", TASKS, **BALANCING_OPTIONS)
    objective = TrainingObjective(network, terms, balancing, teachers=teachers).train()
    objective.begin_step([BATCH])
    return objective


@pytest.mark.parametrize("task", TASKS)
def test_a_task_without_labels_learns_from_its_teacher(task):
    """The loss is the mean difference between both networks; without the teacher it is 0."""
    batch, teacher = without_labels(BATCH, task), teacher_of(task)
    taught, untaught = objective_with({task: teacher}), objective_with({})
    losses = taught(batch)
    prediction = tiny_network(intermediate=False).train()(batch["rgb"])[task]
    expected = (prediction - teacher(batch["rgb"])[task]).abs().mean()
    torch.testing.assert_close(losses[task], expected)
    assert taught.has_pixels.all()
    losses["total"].backward()
    assert all(parameter.grad.any() for parameter in taught.network.own_parameters(task))
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert untaught(batch)[task] == 0
    assert untaught.has_pixels.tolist() == [name != task for name in TASKS]


def test_teachers_only_count_in_images_without_labels():
    """The loss of the first two images against their labels, plus that of the others against the teacher."""
    mask = BATCH["height_mask"].clone()
    mask[2:] = False
    batch, teacher = BATCH | {"height_mask": mask}, teacher_of("height")
    losses = objective_with({"height": teacher})(batch)
    prediction = tiny_network(intermediate=False).train()(batch["rgb"])["height"]
    known = (prediction - batch["height"])[mask[:, None]].abs().mean()
    pseudo = (prediction - teacher(batch["rgb"])["height"])[2:].abs().mean()
    torch.testing.assert_close(losses["height"], known + pseudo)


def test_teachers_change_nothing_if_all_images_have_labels():
    taught, untaught = objective_with({"kind": teacher_of("kind")})(BATCH), objective_with({})(BATCH)
    assert {name: loss.item() for name, loss in taught.items()} == {
        name: loss.item() for name, loss in untaught.items()
    }


def test_teachers_are_neither_trained_nor_saved():
    taught = objective_with({task: teacher_of(task) for task in TASKS})
    assert taught.state_dict().keys() == objective_with({}).state_dict().keys()
    assert len(list(taught.parameters())) == len(list(objective_with({}).parameters()))
    assert not any(teacher.training for teacher in taught._teachers.values())
