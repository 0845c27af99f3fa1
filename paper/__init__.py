"""The experiments of the papers, at sizes from seconds on a laptop to hours on a GPU: `python -m paper`.

Each module in `experiments/` is one `Experiment`: a grid of cells, one function that computes a cell, and a table of
settings with a column for each size. Nothing but the settings differs from one size to another:

    tiny     embedded data, seconds: what the tests run
    hour     MNIST or CIFAR-10 subsets, two cores, at most about an hour
    full     the paper's own settings as far as bdlcore has them, on a GPU

`estimate.py` measures a short run of the same code and says what the whole takes; `results.py` stores each finished
cell, so that a run goes on where it was stopped; `tables.py` and `lessons.py` write what is stored into the lessons.
"""
