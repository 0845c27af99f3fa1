"""log10 of the best likelihood temperature when only labels that four annotators agreed on are kept.

Logistic regression with two weights N(0, 9), integrated on a grid. Four labels are drawn for each input, the input is
kept when they agree, and the model counts it as one label of the ordinary kind. Test labels are agreed ones too. Each
value is the best T for 40 data sets of 20 kept inputs together; a T at the end of the grid would be a bound.
"""

import numpy as np
from scipy.special import expit, log_expit, logsumexp

GRID = np.linspace(-12, 12, 121)
W = np.stack(np.meshgrid(GRID, GRID), -1).reshape(-1, 2)
PRIOR = -(W**2).sum(1) / 18
T = 10 ** np.linspace(-1.5, 1, 51)


def agreed(w, number, rng):
    xs, ys = [], []
    while len(xs) < number:
        x = rng.normal(size=2)
        labels = rng.uniform(size=4) < expit(x @ w)
        if labels.all() or not labels.any():
            xs.append(x)
            ys.append(2 * int(labels[0]) - 1)
    return np.array(xs), np.array(ys)


def value(seed):
    rng, score = np.random.default_rng(seed), np.zeros(len(T))
    for _ in range(40):
        w = 1.5 * rng.normal(size=2)
        x, y = agreed(w, 20, rng)
        new, t = agreed(w, 100, rng)
        fit = log_expit(y[:, None] * (x @ W.T)).sum(0)
        log_p = fit / T[:, None] + PRIOR
        weights = np.exp(log_p - logsumexp(log_p, 1, keepdims=True))
        score += np.log(weights @ expit(t[:, None] * (new @ W.T)).T).sum(1)
    return np.log10(T[score.argmax()])
