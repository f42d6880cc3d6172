"""Loading teachers; for training with them see `training.test_teachers`."""

from dataclasses import replace

import pytest
import torch

from networks.achievement_checkpoint import AchievementSettings
from networks.released_achievement import released_key
from networks.saved_network import save_checkpoint
from tasks.teachers import load_teachers
from utils.errors import UserError

STUDENT = AchievementSettings(
    backbone="mobilenet_v2",
    tasks=("segmentation", "depth"),
    height=48,
    width=64,
    dataset="SyntheticNYU",
    class_names=("wall", "floor", "sofa"),
    class_colours=((1, 2, 3), (4, 5, 6), (7, 8, 9)),
    normal_size=8,
    output_stride=32,
)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_released_weights_need_equal_number_of_classes(tmp_path, num_classes):
    own = replace(
        STUDENT,
        tasks=("segmentation",),
        class_names=STUDENT.class_names[:num_classes],
        class_colours=STUDENT.class_colours[:num_classes],
    )
    state = own.build_network().state_dict()
    torch.save({released_key(key): value for key, value in state.items()}, tmp_path / "released.pth")
    arguments = [str(tmp_path / "released.pth")], STUDENT, torch.device("cpu")
    if num_classes == 3:
        [network] = load_teachers(*arguments).networks.values()
        assert network.tasks == ("segmentation",)
        assert not network.training
        assert not any(parameter.requires_grad for parameter in network.parameters())
        return
    with pytest.raises(UserError, match=r"released\.pth predicts 2 classes"):
        load_teachers(*arguments)


@pytest.mark.parametrize("heads", [("softmax", "sigmoid"), ("sigmoid", "softmax"), ("sigmoid", "sigmoid")])
def test_detection_needs_sigmoids(tmp_path, heads):
    student, own = (replace(STUDENT, arch="VMM", tasks=("detection",), cls_head=head) for head in heads)
    save_checkpoint(tmp_path / "teacher.pth", own, own.build_network(), torch.nn.Identity(), epoch=1)
    arguments = [str(tmp_path / "teacher.pth")], student, torch.device("cpu")
    if "softmax" not in heads:
        assert load_teachers(*arguments).hashes.keys() == {"detection"}
        return
    with pytest.raises(UserError, match="--cls_head sigmoid"):
        load_teachers(*arguments)
