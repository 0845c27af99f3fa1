"""One switch: what BDL_SCALE=paper changes stands in one cell of a lesson, and every cell that it reaches runs.

The cell is tagged `parameters`, so that papermill can put other sizes behind it. Here these are tiny, MNIST and
CIFAR-10 are stand-ins (of the same shapes, but in one lesson) and steps are clamped; the code is that of the paper's
scale.
"""

import ast
import inspect
import warnings

import matplotlib.pyplot as plt
import nbformat
import pytest
import torch
from cells_needed import cells_needed
from execute_notebooks import ROOT, notebooks

import bdlcore as bdl
from bdlcore.notebook.course import Setup

EXPECTED_SECONDS = 90
LESSONS = {path.name[:2]: path for path in notebooks("lessons")}
WITHOUT = {"00", "14"}  # of one size alone
ELSEWHERE = {"13"}  # run in tests/dynamics/test_lesson_at_paper_scale.py
TINY = {
    "01": "CLASSIFIER = {'n': 30, 'hidden': 4, 'chains': 2, 'draws': 4}",
    "02": "WIDTH, LONGER = 4, 1",
    "03": "H_LIST, DRAWS, TRAIN, TEST, DEPTHS = [2, 4], 400, 12, 10, (1, 2)",
    "04": "BAD, GOOD, PRIOR_DRAWS, SHOWN, EACH, FUNCTIONS, SHIFTS = 0.5, 0.14, 8, 5, 3, 8, [1, 2, 3, 4]\n"
    "LAYERS, QUICK_LAYERS = ((4, 4), 8, 5), ((4, 4), 0, 5)\n"
    "HMC = {'chains': 2, 'draws': 4, 'warmup': 10, 'leapfrog_steps': 2, 'initial_steps': 2}\n"
    "LIGHT = BADLY = LONG = HMC\n"
    "DUST = {'labels': 20, 'hidden': 4, 'chains': 2, 'draws': 4, 'warmup': 10, 'leapfrog_steps': 2}",
    "05": "N, NETWORK = 20, {'n': 20, 'width': 4, 'structure': 'kron'}",
    "06": "LABELS, TESTS, DIGITS, SIZES, COUNTS_WHOLE = (16, 400, 410), 16, 120, (40, 60), (16, 32)",
    "07": "NETWORKS, STEPS, DRAWS, THINNING, SIZE, START, FILL, ENLARGE = 4, 50, 8, 1, 24, 2, 4, 2\n"
    "FULL_FIT = {'steps': 2, 'size': 64}",
    "08": "WEIGHTS, DATA, SETS, DRAWS = 10, 20, 2, 128",
    "09": "WIDTH, LONGER = 4, 1",
    "10": "LONGER, WIDE, MANY = 1, (4, 4), 40\n"
    "KNOWN = {'n': 20, 'hidden': (4, 4), 'chains': 4, 'warmup': 10, 'draws': 8, 'leapfrog_steps': 2}\n"
    "SETTING = {'n': 30, 'hidden': (4, 4), 'steps': 25, 'blur': [1.0, 2.0, 3.0, 4.0], 'shift': [2, 4, 6, 8]}",
    "11": "N_EXACT, N, NET_WIDTHS, MEMBERS, STEPS = 30, 60, [4, 5, 6, 7, 8, 9], 3, 110",
    "12": "SIZE = {'labels': 30, 'widths': (12, 16), 'steps': 150, 'basins': 2, 'draws': 40}",
}
# The path is the same for any number of seeds, so two do, but for lessons that name five of them or have three photos.
FIVE_NEEDED, ITS_PHOTOS = {"02", "03", "06", "11"}, {"07"}
FEW_PIXELS = {
    "06": (3, 16, 16)
}  # features are raw pixels too, and solving for 3,072 of them takes half a minute
CLAIM = bdl.claim
STEPS = {"steps": 4, "refine_steps": 4, "initial_steps": 4, "warmup": 10, "leapfrog_steps": 2, "thinning": 1}


def code(number):
    """The lesson's code, cell by cell, and the place of the cell that is tagged."""
    cells = nbformat.read(LESSONS[number], as_version=4).cells
    tagged = [i for i, cell in enumerate(cells) if "parameters" in cell.metadata.get("tags", ())]
    return [cell.source if cell.cell_type == "code" else "" for cell in cells], tagged


def is_scale(node):
    return (
        isinstance(node, ast.Attribute) and node.attr == "scale" and getattr(node.value, "id", "") == "course"
    )


def test_every_lesson_with_two_sizes_is_tried():
    assert (
        {number for number in LESSONS if code(number)[1]} == set(TINY) | ELSEWHERE == set(LESSONS) - WITHOUT
    )


@pytest.mark.parametrize("number", sorted(LESSONS))
def test_sizes_of_both_scales_stand_in_one_cell(number):
    sources, tagged = code(number)
    assert len(tagged) == (number not in WITHOUT)
    for i, source in enumerate(sources):
        for node in ast.walk(ast.parse(source)):
            table = (
                isinstance(node, ast.Subscript) and isinstance(node.value, ast.Dict) and is_scale(node.slice)
            )
            assert not table or [i] == tagged, f"cell {i} has sizes of its own: {ast.unparse(node)}"


def stand_in(shape):
    """Images of that shape with 10 labels, as a loader of MNIST or CIFAR-10 gives them."""

    def load(n=100, seed=0, flatten=False, **_):
        split = bdl.data.digits(min(n, 1000), seed)
        x, x_test = (
            torch.nn.functional.interpolate(part, size=shape[1:]).expand(-1, *shape)
            for part in (split.x, split.x_test[:100])
        )
        parts = x.contiguous(), split.y, x_test.contiguous(), split.y_test[:100]
        return bdl.data.Split(*(part.flatten(1) if flatten and part.ndim > 1 else part for part in parts))

    return load


def clamped(method):
    """The method with few steps of every kind."""
    signature = inspect.signature(method)

    def call(*args, **kwargs):
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        for name, most in STEPS.items():
            if isinstance(bound.arguments.get(name), int):
                bound.arguments[name] = min(bound.arguments[name], most)
        return method(*bound.args, **bound.kwargs)

    return call


def claimed(*args, **kwargs):
    """bdl.claim, but a mean over nothing is none: a tiny network may fit no data set, so that no width is wide."""
    try:
        return CLAIM(*args, **kwargs)
    except ValueError as error:
        if "values must be finite" not in str(error):
            raise


def fewer_seeds(most):
    """Setup.seeds with two at most, or `most` where five are asked for."""

    def seeds(self, n):
        return [self.seed_shift + i for i in range(min(n, most if n == 5 else 2))]

    return seeds


@pytest.fixture
def paper(monkeypatch, tmp_path):
    """The environment of the paper's scale, without its data and its patience."""
    monkeypatch.setenv("BDL_SCALE", "paper")
    monkeypatch.setenv("BDL_DATA", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(bdl.data, "mnist", stand_in((1, 28, 28)))
    monkeypatch.setattr(bdl.data, "cifar10", stand_in((3, 32, 32)))
    for name in ("hmc", "sgld", "sghmc", "mean_field_vi", "swag", "ensemble", "laplace", "temperature_sweep"):
        monkeypatch.setattr(bdl, name, clamped(getattr(bdl, name)))
    monkeypatch.setattr(bdl, "claim", claimed)
    monkeypatch.setattr(bdl, "answer", lambda *_: None)  # to questions that no cell of these asks
    monkeypatch.chdir(ROOT)
    plt.switch_backend("agg")
    yield
    plt.close("all")


@pytest.mark.parametrize("number", sorted(TINY))
def test_every_cell_that_the_scale_reaches_runs(paper, number, monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", str(LESSONS[number]))
    sources, (place,) = code(number)
    reached = [i for i, source in enumerate(sources) if source and place in cells_needed(sources, [i])]
    reached += [
        i for i, s in enumerate(sources) if any(map(is_scale, ast.walk(ast.parse(s)))) or "course.images" in s
    ]
    sources[place] += "\n" + TINY[number]
    if number in FEW_PIXELS:
        monkeypatch.setattr(bdl.data, "cifar10", stand_in(FEW_PIXELS[number]))
    if number not in ITS_PHOTOS:
        monkeypatch.setattr(Setup, "seeds", fewer_seeds(5 if number in FIVE_NEEDED else 2))
    names = {"__name__": "__main__", "display": lambda *_: None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of chains that are too short, for one
        for i in cells_needed(sources, sorted({*reached, place})):
            try:
                exec(compile(sources[i], f"<{number}, cell {i}>", "exec"), names)
            except Exception as error:
                raise AssertionError(f"cell {i} of {LESSONS[number].name}: {error!r}") from error
            plt.close("all")
