"""Set-up, data, demos and imports: what every notebook starts with."""

import subprocess
import sys

import matplotlib.pyplot as plt
import pytest
import torch

import bdlcore as bdl
from bdlcore import plots


def test_setup_reads_scale_and_seed(monkeypatch):
    monkeypatch.setenv("BDL_SCALE", "small")
    monkeypatch.setenv("BDL_SEED", "2")
    course = bdl.setup()
    assert course.seeds(3) == [2000, 2001, 2002]
    assert course.scale == "small" and course.device == torch.device("cpu")
    assert "seeds shifted by 2000" in repr(course)
    monkeypatch.setenv("BDL_SEED", "one")
    with pytest.raises(ValueError, match="BDL_SEED must be a non-negative whole number, got 'one'"):
        bdl.setup()
    monkeypatch.setenv("BDL_SEED", "0")
    monkeypatch.setenv("BDL_SCALE", "huge")
    with pytest.raises(ValueError, match="BDL_SCALE must be one of"):
        bdl.setup()


def test_importing_the_package_costs_little_more_than_torch():
    """Modules that are slow to import are loaded on first use; a slow one here would cost every notebook its time."""
    code = "import sys, bdlcore; print([m for m in sys.argv[1:] if m in sys.modules])"
    heavy = [
        "matplotlib",
        "ipywidgets",
        "sklearn",
        "scipy.stats",
        "torchvision",
        "torch._dynamo",
        "nbgrader",
        "skimage",
    ]
    result = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_unknown_names_are_not_silently_none():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        bdl.nonsense  # noqa: B018
    assert set(bdl.__all__) <= {name for name in bdl.__all__ if getattr(bdl, name) is not None}


def test_two_clusters_leaves_its_gap_and_has_its_noise():
    x, y = bdl.data.two_clusters(20_000, noise_std=0.3, seed=0)
    assert x.shape == (20_000, 1) and not ((x > -0.3) & (x < 0.6)).any()
    assert x.min() < -0.99 and x.max() > 0.99
    assert (y - bdl.data.curve(x[:, 0])).std().item() == pytest.approx(0.3, rel=0.02)
    assert torch.equal(bdl.data.two_clusters(5, seed=1)[1], bdl.data.two_clusters(5, seed=1)[1])
    with pytest.raises(ValueError, match="gap must lie inside"):
        bdl.data.two_clusters(5, gap=(-2.0, 0.0))
    with pytest.raises(ValueError, match="n must be at least 1"):
        bdl.data.two_clusters(0)
    with pytest.raises(ValueError, match="noise_std must be positive"):
        bdl.data.two_clusters(5, noise_std=0.0)


def test_digits_are_split_without_overlap():
    split = bdl.data.digits(100, seed=0)
    assert split.x.shape == (100, 1, 8, 8) and split.x_test.shape == (1697, 1, 8, 8)
    assert split.x.min() == -1 and split.x.max() == 1
    flat = bdl.data.digits(100, seed=0, flatten=True)
    torch.testing.assert_close(flat.x, split.x.flatten(1))
    assert torch.equal(flat.y, split.y) and not torch.equal(flat.y, bdl.data.digits(100, seed=1).y)
    everything = torch.cat([flat.x, flat.x_test]).sum(0)
    torch.testing.assert_close(everything, torch.cat(bdl.data.digits(7, 3, flatten=True)[::2]).sum(0))
    with pytest.raises(ValueError, match="1797 digits"):
        bdl.data.digits(1797)


def test_photo_patches_of_different_halves_are_standardised_and_labelled():
    split = bdl.data.photo_patches(40, 16, size=16, seed=0)
    assert split.x.shape == (40, 1, 16, 16) and split.x_test.shape == (16, 1, 16, 16)
    assert torch.bincount(split.y).tolist() == [5] * 8 and torch.bincount(split.y_test).tolist() == [2] * 8
    assert split.x.mean((2, 3)).abs().max() < 1e-4
    std = split.x.std((2, 3))
    assert std.median().item() == pytest.approx(1, abs=1e-4) and std.max() < 1.001
    again = bdl.data.photo_patches(40, 16, size=16, seed=0)
    assert torch.equal(split.x, again.x) and not torch.equal(
        split.x, bdl.data.photo_patches(40, 16, size=16, seed=1).x
    )


def test_photo_patches_come_from_the_half_they_should(monkeypatch):
    import numpy as np
    import skimage.data

    ramp = np.tile(np.r_[np.linspace(0, 0.5, 100), np.linspace(1, 0, 100)], (120, 1)) * 255
    for name in bdl.data.PHOTOS:  # brightness rises over the left half and falls over the right
        monkeypatch.setattr(skimage.data, name, lambda: ramp)
    split = bdl.data.photo_patches(16, 16, size=20, seed=0)
    assert (split.x[:, 0, :, -1] > split.x[:, 0, :, 0]).all()
    assert (split.x_test[:, 0, :, -1] < split.x_test[:, 0, :, 0]).all()


def test_photo_patches_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match="size must be from 2 to"):
        bdl.data.photo_patches(8, 8, size=400)
    with pytest.raises(ValueError, match="n_test must be at least 1"):
        bdl.data.photo_patches(8, 0)


def test_moons_are_two_classes_around_the_origin():
    x, y = bdl.data.moons(500, seed=0)
    assert x.shape == (500, 2) and y.bincount().tolist() == [250, 250]
    assert x.mean(0).abs().max() < 0.1


def test_missing_download_names_the_alternative(monkeypatch, tmp_path):
    from torchvision import datasets

    def offline(*args, **kwargs):
        raise RuntimeError("Error downloading")

    monkeypatch.setattr(datasets.MNIST, "download", offline)
    monkeypatch.setenv("BDL_DATA", str(tmp_path / "data"))
    with pytest.raises(RuntimeError, match=r"could not be downloaded.*BDL_DATA.*bdl\.data\.digits\(\)"):
        bdl.data.mnist(10)


def test_progress_bars_can_be_turned_off(monkeypatch, capsys):
    from bdlcore import _progress

    monkeypatch.setenv("BDL_PROGRESS", "0")
    assert list(_progress.progress(3, "work")) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")


# --- demos ---


def draw(height, kind="line"):
    figure, ax = plt.subplots(figsize=(2, 1))
    ax.plot([0, 1], [0, height], ":" if kind == "dots" else "-")
    ax.set_ylim(0, 10)
    return figure


def test_a_slider_changes_the_picture_and_back():
    demo = bdl.demo(draw, height=(1, 9, 1, 3), kind=["line", "dots"])
    first = bytes(demo.image.value)
    demo.controls["height"].value = 7
    second = bytes(demo.image.value)
    demo.controls["kind"].value = "dots"
    assert first.startswith(b"\x89PNG") and len({first, second, bytes(demo.image.value)}) == 3
    demo.controls["kind"].value, demo.controls["height"].value = "line", 3
    assert bytes(demo.image.value) == first and demo.milliseconds > 0
    assert not plt.get_fignums(), "figures must be closed, or a dragged slider fills the memory"


def test_kinds_of_controls():
    import ipywidgets

    demo = bdl.demo(draw, height=(0.5, 2.0, 0.5, 1.0), kind=ipywidgets.Dropdown(options=["line", "dots"]))
    assert isinstance(demo.controls["height"], ipywidgets.FloatSlider)
    assert isinstance(demo.controls["kind"], ipywidgets.Dropdown)
    with pytest.raises(ValueError, match=r"control for 'height' must be \(low, high, step, value\)"):
        bdl.demo(draw, height=(1, 9))


def test_shared_pictures_draw_what_they_are_given():
    figure, ax = plt.subplots()
    x = torch.linspace(0, 1, 11)[:, None]
    plots.band(ax, x, x, 0.1 * torch.ones(11, 1))
    plots.functions(ax, x, torch.randn(50, 11, 1), most=7)
    plots.data(ax, x, x[:, 0])
    plots.label_line(ax, 1.0, 1.0, "name", plots.RED)
    assert len(ax.lines) == 1 + 7 + 1 and len(ax.collections) == 1
    assert ax.texts[0].get_text() == "name"
    plt.close(figure)
