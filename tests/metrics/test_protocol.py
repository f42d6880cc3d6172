"""Depth protocols against formulas in NumPy."""

import numpy as np
import pytest
import torch

from metrics.alignment import fit_depth
from metrics.depth import METRICS
from metrics.evaluator import Evaluator, describe_protocol
from metrics.protocol import ALIGNMENTS, PRESETS, DepthProtocol, Protocol, Region, aligned
from metrics.region import RegionBatches
from tasks import build_evaluator
from tests.metrics.test_resizing import interpolated
from utils.batches import STORED
from utils.sphere import erp_solid_angles

HEIGHT, WIDTH, CLASSES = 20, 40, 3


def batch_of(count: int = 3) -> dict:
    """Depths of 0.2 to 14 m with holes, and images with black parts."""
    depth = 0.2 + 14 * torch.rand(count, 1, HEIGHT, WIDTH) ** 2
    depth.masked_fill_(torch.rand_like(depth) < 0.2, 0)
    return {
        "index": torch.arange(count),
        "id": [str(i) for i in range(count)],
        "rgb": torch.rand(count, 3, HEIGHT, WIDTH) * (torch.rand(count, 1, HEIGHT, WIDTH) > 0.1),
        "depth": depth,
        "depth_mask": (depth > 0) & (depth <= 10),
        "normal": torch.nn.functional.normalize(torch.randn(count, 3, HEIGHT, WIDTH), dim=1),
        "normal_mask": torch.rand(count, 1, HEIGHT, WIDTH) > 0.3,
        "semantic": torch.randint(-1, CLASSES, (count, HEIGHT, WIDTH)),
    }


def prediction_of(batch: dict) -> torch.Tensor:
    """Half of the ground truth depth plus noise, with some values beyond all ranges."""
    prediction = 0.5 * batch["depth"] + 0.4 * torch.rand_like(batch["depth"])
    return prediction.masked_fill(torch.rand_like(prediction) < 0.02, 12.0)


def results_of(protocol: Protocol, batch: dict, predictions: dict) -> dict[str, float]:
    evaluator = build_evaluator(tuple(predictions), CLASSES, protocol=protocol)
    for masked in RegionBatches([batch], protocol.region):
        evaluator.update(predictions, masked)
    return evaluator.compute()[0]


def formulas(p: np.ndarray, d: np.ndarray, weights: np.ndarray) -> dict[str, float]:
    """The METRICS of valid pixels p, d (n,)."""

    def mean(values: np.ndarray) -> float:
        return float(np.average(values, weights=weights))

    log = np.log(p) - np.log(d)
    ratio = np.maximum(p / d, d / p)
    values = {
        "abs_rel": mean(np.abs(p - d) / d),
        "sq_rel": mean((p - d) ** 2 / d),
        "abs_": mean(np.abs(p - d)),
        "rms": mean((p - d) ** 2) ** 0.5,
        "log_rms": mean((np.log10(p) - np.log10(d)) ** 2) ** 0.5,
        "log10": mean(np.abs(np.log10(p) - np.log10(d))),
        **{f"a{i}": mean(ratio < 1.25**i) for i in (1, 2, 3)},
        "delta_1.05": mean(ratio < 1.05),
        "delta_1.10": mean(ratio < 1.10),
        "rms_ln": mean(log**2) ** 0.5,
        "si_log": mean((log - mean(log)) ** 2) ** 0.5,
        "irmse": mean((1 / p - 1 / d) ** 2) ** 0.5,
    }
    assert values.keys() == set(METRICS)
    return values


def arrays(batch: dict, prediction: torch.Tensor) -> list[tuple[np.ndarray, ...]]:
    """Predicted depth, depth, RGB and absolute latitude in degrees of each image, (H, W) or (H, W, 3)."""
    latitude = np.abs(90 - (np.arange(HEIGHT) + 0.5) * 180 / HEIGHT)[:, None].repeat(WIDTH, 1)
    return [
        (p[0].double().numpy(), d[0].double().numpy(), rgb.movedim(0, -1).numpy(), latitude)
        for p, d, rgb in zip(prediction, batch["depth"], batch["rgb"], strict=True)
    ]


def mean_over_images(metrics: list[dict[str, float]]) -> dict[str, float]:
    return {name: sum(one[name] for one in metrics) / len(metrics) for name in metrics[0]}


def with_suffix(metrics: dict[str, float], suffix: str) -> dict[str, float]:
    """The METRICS with this key suffix."""
    return {name: metrics[name + suffix] for name in METRICS}


def uniform(values: np.ndarray) -> np.ndarray:
    return np.ones(len(values))


def unifuse(images: list) -> dict[str, float]:
    """Valid up to 10 m, both clamped to 0.1 .. 10 m, mean over images."""
    metrics = []
    for p, d, _, _ in images:
        valid = (d > 0) & (d <= 10)
        metrics.append(formulas(p[valid].clip(0.1, 10), d[valid].clip(0.1, 10), uniform(d[valid])))
    return mean_over_images(metrics)


def da2(images: list) -> dict[str, float]:
    """MP3D: 0.001 to 5 units of 0.64 m, no black pixels, medians aligned, prediction clipped, mean over images."""
    metrics = []
    for p, d, rgb, _ in images:
        valid = (d > 0.00064) & (d <= 3.2) & (rgb.max(-1) > 0)
        p, d = p[valid], d[valid]
        middle = (len(d) - 1) // 2  # lower median
        p = p * np.sort(d)[middle] / np.sort(p)[middle]
        metrics.append(formulas(p.clip(0.00064, 3.2), d, uniform(d)))
    return mean_over_images(metrics)


def pager(images: list, fit: str = "") -> dict[str, float]:
    """MP3D: without 14 % of the height at each pole, nothing clamped, least squares, mean over images."""
    metrics = []
    for p, d, _, latitude in images:
        valid = (d > 0) & (latitude < 90 - 0.14 * 180)
        p, d = p[valid], d[valid]
        if fit == "scale":
            p = p * (p @ d) / (p @ p)
        if fit == "scale_shift":
            p = np.polyval(np.polyfit(p, d, 1), p)
        metrics.append(formulas(p, d, uniform(d)))
    return mean_over_images(metrics)


def mtpano(images: list) -> dict[str, float]:
    """Valid up to 3.2 m, all pixels together."""
    pairs = [(p[valid], d[valid]) for p, d, _, _ in images for valid in [(d > 0) & (d <= 3.2)]]
    p, d = (np.concatenate(values) for values in zip(*pairs, strict=True))
    return formulas(p, d, uniform(d))


@pytest.mark.parametrize(
    ("name", "formula_of_suffix"),
    [
        ("unifuse", {"_unifuse": unifuse}),
        ("da2", {"_da2": da2}),
        (
            "pager",
            {
                "_pager": pager,
                "_pager_scale": lambda images: pager(images, "scale"),
                "_pager_scale_shift": lambda images: pager(images, "scale_shift"),
            },
        ),
        ("mtpano", {"_mtpano": mtpano}),
    ],
)
def test_presets(name, formula_of_suffix):
    batch = batch_of()
    prediction = prediction_of(batch) + 0.05
    protocol = Protocol(depth=(DepthProtocol(), *PRESETS[name]("MP3D")))
    results = results_of(protocol, batch, {"depth": prediction})["depth"]
    described = describe_protocol(protocol)
    for suffix, formula in formula_of_suffix.items():
        assert with_suffix(results, suffix) == pytest.approx(formula(arrays(batch, prediction)), rel=1e-9)
        assert suffix in described
    assert with_suffix(results, "") == pytest.approx(unifuse(arrays(batch, prediction)))


def test_pager_is_evaluated_at_ground_truth_size():
    """Other protocols use the size of the predictions."""
    stored = batch_of()
    small = {key: value[..., ::2, ::2] if value.ndim > 2 else value for key, value in stored.items() if key != "id"}
    small |= {"id": stored["id"], STORED: stored}
    prediction = prediction_of(small) + 0.05
    protocol = Protocol(depth=(DepthProtocol(), *PRESETS["pager"]("MP3D")))
    assert protocol.needs_stored
    assert not Protocol(depth=(DepthProtocol(), *PRESETS["da2"]("MP3D"))).needs_stored
    results = results_of(protocol, small, {"depth": prediction})["depth"]
    large = np.stack([interpolated(p, (HEIGHT, WIDTH)) for p in prediction.double().numpy()])
    images = arrays(stored, torch.from_numpy(large))
    assert with_suffix(results, "_pager") == pytest.approx(pager(images), rel=1e-5)
    assert with_suffix(results, "_pager_scale") == pytest.approx(pager(images, "scale"), rel=1e-5)
    assert with_suffix(results, "") == pytest.approx(unifuse(arrays(small, prediction)))


def test_every_preset_is_tested():
    assert set(PRESETS) == {"unifuse", "da2", "pager", "mtpano"}


def test_presets_for_s2d3d():
    """The unit of DA-2 is 1000 raw units of 1/512 m; PaGeR crops 15 % at each pole."""
    (da2_of_s2d3d,) = PRESETS["da2"]("S2D3D")
    assert (da2_of_s2d3d.region.min_depth, da2_of_s2d3d.region.max_depth) == pytest.approx((1 / 512, 5000 / 512))
    assert PRESETS["pager"]("S2D3D")[0].region.pole_crop == pytest.approx(27)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("align", [name for name in ALIGNMENTS if name != "none"])
def test_alignments(align, weighted):
    """Each alignment matches NumPy's; metrics without a suffix do not change."""
    batch = batch_of(2)
    prediction = prediction_of(batch) + 0.05
    protocol = Protocol(depth=aligned(("none", align, align), DepthProtocol(), weighted))
    results = results_of(protocol, batch, {"depth": prediction})["depth"]
    solid_angle = erp_solid_angles(HEIGHT, WIDTH)[:, None].repeat(WIDTH, 1)
    metrics = []
    for p, d, _, _ in arrays(batch, prediction):
        valid = (d > 0) & (d <= 10)
        weights = solid_angle[valid] if weighted else uniform(d[valid])
        fitted = aligned_by_numpy(align, p[valid], d[valid], weights)
        metrics.append(formulas(fitted.clip(0.1, 10), d[valid].clip(0.1, 10), uniform(d[valid])))
    assert with_suffix(results, f"_{align}") == pytest.approx(mean_over_images(metrics), rel=1e-9)
    assert with_suffix(results, "") == pytest.approx(unifuse(arrays(batch, prediction)))
    assert f"rms_{align}_solid_angle" in results


def aligned_by_numpy(align: str, p: np.ndarray, d: np.ndarray, weights: np.ndarray) -> np.ndarray:
    root = np.sqrt(weights)
    if align == "scale":
        return p * np.linalg.lstsq((root * p)[:, None], root * d, rcond=None)[0]
    if align == "scale_shift":
        return np.polyval(np.polyfit(p, d, 1, w=root), p)
    if align == "disparity":
        return 1 / np.maximum(np.polyval(np.polyfit(1 / p, 1 / d, 1, w=root), 1 / p), 1e-3)

    def median(values: np.ndarray) -> float:
        order = np.argsort(values)
        return values[order][np.searchsorted(np.cumsum(weights[order]), weights.sum() / 2)]

    return p * median(d) / median(p)


@pytest.mark.parametrize("align", [name for name in ALIGNMENTS if name != "none"])
def test_exact_relations_are_recovered(align):
    """For a constant prediction, scale_shift gives the mean."""
    d = 1 + 5 * torch.rand(2, HEIGHT, WIDTH).double()
    weights = (torch.rand_like(d) > 0.3).double()
    related = {"scale_shift": 0.5 * d + 1, "disparity": 1 / (0.5 / d + 1)}.get(align, 0.5 * d)
    assert torch.allclose(fit_depth(align, related, d, weights).apply(related), d)
    constant = torch.full_like(d, 2.3)
    if align == "scale_shift":
        mean = (weights * d).sum((1, 2)) / weights.sum((1, 2))
        assert torch.allclose(fit_depth(align, constant, d, weights).apply(constant), mean[:, None, None].expand_as(d))


def test_fit_of_nan_is_nan():
    d = 1 + torch.rand(1, 4, 8).double()
    prediction = d.clone()
    prediction[0, 0, 0] = torch.nan
    for align in set(ALIGNMENTS) - {"none"}:
        assert fit_depth(align, prediction, d, torch.ones_like(d)).factor.isnan().all(), align


def test_constant_predictions_are_aligned_to_a_mean():
    """Their slope cannot be fitted."""
    d = 1 + torch.rand(1, 4, 8).double()
    for align, mean in (("scale_shift", d.mean()), ("disparity", 1 / (1 / d).mean())):
        constant = torch.full_like(d, 3.0)
        aligned_depth = fit_depth(align, constant, d, torch.ones_like(d)).apply(constant)
        assert torch.allclose(aligned_depth, mean.expand_as(d)), align


def test_depth_range_without_clamping():
    batch = batch_of()
    prediction = prediction_of(batch) + 0.05
    protocol = Protocol(Region(min_depth=1, max_depth=13), (DepthProtocol(clamp="none"),))
    metrics = []
    for p, d, _, _ in arrays(batch, prediction):
        valid = (d > 1) & (d <= 13)
        metrics.append(formulas(p[valid], d[valid], uniform(d[valid])))
    results = results_of(protocol, batch, {"depth": prediction})["depth"]
    assert with_suffix(results, "") == pytest.approx(mean_over_images(metrics))


def test_region_excludes_poles_and_black_pixels():
    batch = batch_of()
    region = Region(pole_crop=30, without_black=True)
    (cropped,) = RegionBatches([batch], region)
    inside = torch.zeros(HEIGHT, 1, dtype=torch.bool)
    inside[3:-3] = True  # rows are 9 degrees high, with centers at 4.5, 13.5, 22.5, 31.5 from the pole
    inside = inside & (batch["rgb"].sum(1, keepdim=True) > 0)
    assert torch.equal(cropped["depth_mask"], batch["depth_mask"] & inside)
    assert torch.equal(cropped["normal_mask"], batch["normal_mask"] & inside)
    assert torch.equal(cropped["semantic"] >= 0, (batch["semantic"] >= 0) & inside[:, 0])


def test_masks_apply_to_all_protocols():
    """Also to those with their own region."""
    batch = batch_of() | {"mask": torch.rand(3, 1, HEIGHT, WIDTH) > 0.5}
    prediction = prediction_of(batch)
    results = results_of(Protocol(depth=(DepthProtocol(), *PRESETS["mtpano"]("MP3D"))), batch, {"depth": prediction})
    masks = batch["mask"][:, 0].numpy()
    released, mtpano_pairs = [], []
    for (p, d, _, _), mask in zip(arrays(batch, prediction), masks, strict=True):
        valid = mask & (d > 0) & (d <= 10)
        released.append(formulas(p[valid].clip(0.1, 10), d[valid].clip(0.1, 10), uniform(d[valid])))
        mtpano_pairs.append([values[mask & (d > 0) & (d <= 3.2)] for values in (p.clip(1e-3), d)])
    assert with_suffix(results["depth"], "") == pytest.approx(mean_over_images(released))
    p, d = (np.concatenate(values) for values in zip(*mtpano_pairs, strict=True))
    assert with_suffix(results["depth"], "_mtpano") == pytest.approx(formulas(p, d, uniform(d)))
    (masked,) = RegionBatches([batch], Region())
    assert torch.equal(masked["normal_mask"], batch["normal_mask"] & batch["mask"])
    assert torch.equal(masked["semantic"] >= 0, (batch["semantic"] >= 0) & batch["mask"][:, 0])
    assert "0123" in describe_protocol(Protocol(mask="0123"))["region"]


def test_pooled_pixels():
    batch = batch_of()
    batch["depth_mask"][1] = False  # an image without depth
    prediction = {"depth": prediction_of(batch), "normal": torch.randn(3, 3, HEIGHT, WIDTH)}
    results = results_of(Protocol(pool_pixels=True), batch, prediction)
    solid_angle = erp_solid_angles(HEIGHT, WIDTH)[:, None].repeat(WIDTH, 1)
    valid_pixels = [
        (p[valid].clip(0.1, 10), d[valid].clip(0.1, 10), solid_angle[valid])
        for i, (p, d, _, _) in enumerate(arrays(batch, prediction["depth"]))
        for valid in [(d > 0) & (d <= 10) & (i != 1)]
    ]
    p, d, weights = (np.concatenate(values) for values in zip(*valid_pixels, strict=True))
    assert with_suffix(results["depth"], "_per_pixel") == pytest.approx(formulas(p, d, uniform(d)))
    assert with_suffix(results["depth"], "_per_pixel_solid_angle") == pytest.approx(formulas(p, d, weights))
    cosine = torch.cosine_similarity(prediction["normal"].double(), batch["normal"].double(), dim=1)
    angle = cosine.arccos().rad2deg()[batch["normal_mask"][:, 0]].numpy()
    assert results["normal"]["mean_per_pixel"] == pytest.approx(angle.mean())
    assert results["normal"]["median_per_pixel"] == pytest.approx(np.sort(angle)[(len(angle) - 1) // 2], abs=2e-3)
    assert results["normal"]["rmse_per_pixel"] == pytest.approx((angle**2).mean() ** 0.5)
    assert results["normal"]["a4_per_pixel"] == pytest.approx(100 * (angle < 22.5).mean())


def test_images_without_pixels_in_range_are_skipped():
    """Image 1 has depth, but none below 3.2 m."""
    batch = batch_of(2)
    batch["depth"][1] += 4
    batch["depth_mask"] = (batch["depth"] > 0) & (batch["depth"] <= 10)
    prediction = prediction_of(batch)
    protocol = Protocol(depth=(DepthProtocol(), *PRESETS["da2"]("MP3D")))
    evaluator: Evaluator = build_evaluator(("depth",), CLASSES, protocol=protocol)
    evaluator.update({"depth": prediction}, batch)
    results, rows = evaluator.compute()
    assert results["depth"]["rms_da2"] == rows[0]["depth/rms_da2"] > 0
    assert "depth/rms" in rows[1]
    assert "depth/rms_da2" not in rows[1]


def test_any_batch_size_with_all_protocols():
    """Bitwise."""
    batch = batch_of(4)
    predictions = {"depth": prediction_of(batch), "normal": torch.randn(4, 3, HEIGHT, WIDTH)}
    presets = [one for name in PRESETS for one in PRESETS[name]("S2D3D")]
    protocol = Protocol(depth=(*aligned(tuple(ALIGNMENTS), DepthProtocol(), True), *presets), pool_pixels=True)
    whole, parts = (build_evaluator(tuple(predictions), CLASSES, protocol=protocol) for _ in range(2))
    whole.update(predictions, batch)
    for i in (2, 0, 3, 1):
        parts.update({k: v[i : i + 1] for k, v in predictions.items()}, {k: v[i : i + 1] for k, v in batch.items()})
    assert parts.compute() == whole.compute()
