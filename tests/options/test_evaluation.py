"""What evaluations are made on."""

import pytest

from networks.checkpoint import ModelSettings
from options.elite360m import eval_parser
from options.evaluation import fold_notes


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
def test_a_network_that_has_seen_areas_of_the_test(trained, dataset, flags, is_noted):
    settings = ModelSettings("Elite360M_Res18", ("depth",), 2, 64, 128, dataset, ("wall",), ((1, 2, 3),), fold=trained)
    options = eval_parser().parse_args(["--load_weights_dir", "x", "--dataset", "S2D3D", *flags.split()])
    notes = fold_notes(options, settings)
    assert len(notes) == is_noted
    assert all(f"--fold {trained or 1}" in note for note in notes)
