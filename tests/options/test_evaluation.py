"""Batches and notes of an evaluation."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from datasets.turned import TurnedBatches
from metrics.protocol import Region
from networks.checkpoint import ModelSettings
from options.elite360m import eval_parser
from options.evaluation import check_foreign, check_protocol, evaluated_batches, fold_notes
from utils.errors import UserError
from utils.tasks import METERS, RELATIVE


@pytest.mark.parametrize(
    ("trained", "dataset", "flags", "is_noted"),
    [
        (None, "S2D3D", "", False),
        (None, "S2D3D", "--fold 1", False),
        (None, "S2D3D", "--fold 2", True),
        (2, "S2D3D", "", True),
        (2, "S2D3D", "--fold 2", False),
        (2, "S2D3D", "--val_list rooms.txt", False),
        (None, "MP3D", "--fold 2", False),
        (2, "S2D3D", "--dataset Synthetic", False),
    ],
)
def test_fold_notes(trained, dataset, flags, is_noted):
    settings = ModelSettings("Elite360M_Res18", ("depth",), 2, 64, 128, dataset, ("wall",), ((1, 2, 3),), fold=trained)
    options = eval_parser().parse_args(["--load_weights_dir", "x", "--dataset", "S2D3D", *flags.split()])
    notes = fold_notes(options, settings)
    assert len(notes) == is_noted
    assert all(f"--fold {trained or 1}" in note for note in notes)


@pytest.mark.parametrize("dataset", ["Struc3D", "Folder"])
@pytest.mark.parametrize(
    ("flags", "unit", "frame", "named"),
    [
        ("--protocol unifuse da2", RELATIVE, "camera", "--protocol da2"),
        ("--protocol unifuse", RELATIVE, "camera", None),
        ("--protocol unifuse da2 pager", METERS, "world", None),
        ("--more_metrics points", RELATIVE, "camera", "--more_metrics points"),
        ("--more_metrics consistency", METERS, "world", "--more_metrics consistency"),
        ("--more_metrics consistency", METERS, "camera", None),
    ],
)
def test_protocols_that_a_dataset_allows(dataset, flags, unit, frame, named):
    options = eval_parser().parse_args(["--load_weights_dir", "x", "--dataset", dataset, *flags.split()])
    opened = SimpleNamespace(depth_unit=unit, normal_frame=frame)
    with pytest.raises(UserError, match=named) if named else nullcontext() as error:
        check_protocol(options, opened)
    if named and unit == RELATIVE:
        assert ("--metric_depth" in str(error.value)) == (dataset == "Struc3D")


@pytest.mark.parametrize("flags", ["--tta 2", "--cost", "--turn 10 0 0", "--zoom 2"])
def test_options_that_need_a_network(flags):
    options = eval_parser().parse_args(["--predictions", "x", *flags.split()])
    with pytest.raises(UserError, match=f"{flags.split()[0]} .*--predictions"):
        check_foreign(options)


def test_predictions_without_such_options():
    check_foreign(eval_parser().parse_args(["--predictions", "x"]))


def test_batches_are_turned_and_zoomed():
    maps = {"depth": torch.rand(1, 1, 16, 32), "normal": torch.zeros(1, 3, 16, 32), "rgb": torch.rand(1, 3, 16, 32)}
    known = torch.ones(1, 1, 16, 32, dtype=torch.bool)
    batch = {**maps, "depth_mask": known, "normal_mask": known, "semantic": torch.zeros(1, 16, 32, dtype=torch.int64)}
    for flags, turn in (("", (0.0, 0.0, 0.0)), ("--turn 10 20 30", (10.0, 20.0, 30.0))):
        options = eval_parser().parse_args(
            ["--load_weights_dir", "x", "--task", "depth", "--zoom", "2", *flags.split()]
        )
        [found] = evaluated_batches([batch], options, None, "camera", Region())
        [expected] = TurnedBatches([batch], turn, "camera", 2.0)
        assert all(torch.equal(found[key], expected[key]) for key in batch)
        assert not torch.equal(found["depth"], batch["depth"])
