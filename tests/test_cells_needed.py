"""Which cells a cell needs: each rule on a notebook of a few lines."""

import pytest
from cells_needed import cells_needed

CASES = {
    "the nearest binding counts": (["x = 1", "y = 0", "x = 2", "z = x"], [2, 3]),
    "a value that is made from an older one needs that": (["x = 1", "x = x + 1", "z = x"], [0, 1, 2]),
    "several names at once": (["(a, b), c = f", "z = b"], [0, 1]),
    "a part that is set changes its owner": (
        ["x = {}", "x['a'] = 1", "x.b = 2", "y = 3", "z = x"],
        [0, 1, 2, 4],
    ),
    "a method called for its own sake changes its owner": (["x = []", "x.append(1)", "z = x"], [0, 1, 2]),
    "a method of a module does not": (
        ["import plots", "x = 1", "plots.draw(x)", "z = plots.a, x"],
        [0, 1, 3],
    ),
    "what may be bound anew": (["x = 1", "if a:\n    x = 2", "z = x"], [0, 1, 2]),
    "a loop's own names are not read from above": (
        ["i = y = 1", "total = 0\nfor i in (1, 2):\n    y = i\n    total += y", "z = total"],
        [1, 2],
    ),
    "with binds for certain": (["x = 1", "with a as b:\n    x = b", "z = x"], [1, 2]),
    "a comprehension's names are its own": (["x = 1", "y = [x for x in a]", "z = y"], [1, 2]),
    "a function reads where it is used": (
        ["n = 1", "def f():\n    return n", "f()", "n = 2", "z = f()"],
        [1, 3, 4],
    ),
    "its arguments and own names are its own": (
        ["n = m = 1", "def f(n):\n    m = n\n    return m", "z = f(2)"],
        [1, 2],
    ),
    "its defaults are read where it is defined": (["n = 1", "def f(a=n): pass", "n = 2", "z = f"], [0, 1, 3]),
    "a function of a function": (
        ["def f():\n    return g()", "def g():\n    return n", "n = 1", "z = f()"],
        [0, 1, 2, 3],
    ),
    "a function in a dictionary": (
        ["def f():\n    return n", "d = {'f': f}", "n = 1", "z = d"],
        [0, 1, 2, 3],
    ),
    "what a function returned does not hold it": (
        ["def f():\n    return n", "n = 1", "d = f()", "n = 2", "z = d"],
        [0, 1, 2, 4],
    ),
    "a lambda": (["f = lambda: n", "n = 1", "z = f()"], [0, 1, 2]),
    "an object's methods": (
        ["class A:\n    def f(self):\n        return n", "a = A()", "n = 1", "z = a.f()"],
        [0, 1, 2, 3],
    ),
    "a function that changes a table of the notebook": (
        ["t = {}", "def f(k):\n    t[k] = 1", "f('a')", "y = 1", "z = t"],
        [0, 1, 2, 4],
    ),
    "a function that changes its argument": (
        ["def f(a, b):\n    b.append(a)", "x = 1\ny = []", "f(x, y)", "z = x", "w = y"],
        [0, 1, 2, 4],
    ),
    "a function that trains its argument": (
        ["def fit(net):\n    loss = net(1)\n    loss.backward()", "net = make()", "l = fit(net)", "z = net"],
        [0, 1, 2, 3],
    ),
    "lines for IPython do not count": (["%config a = 1\nx = 1", "!ls\nz = x"], [0, 1]),
    "cells without code": (["", "x = 1", "", "z = x"], [1, 3]),
}


@pytest.mark.parametrize(("sources", "needed"), CASES.values(), ids=[*CASES])
def test_the_last_cell_needs(sources, needed):
    assert cells_needed(sources, [len(sources) - 1]) == needed


def test_cells_below_are_not_needed_and_all_wanted_ones_are():
    assert cells_needed(["x = 1", "z = x", "x = 2", "y = 3"], [1, 3]) == [0, 1, 3]
