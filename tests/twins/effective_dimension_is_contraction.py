"""Effective dimension of the Hessian minus the sum over weights of 1 - posterior variance / prior variance.

Linear regression with weights N(0, I), where the posterior is known: N_eff = sum of h / (h + 1) over the eigenvalues h
of X'X / s^2, and the posterior covariance is (I + X'X / s^2)^-1. Each seed draws X with correlated columns.
"""

import numpy as np


def value(seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(15, 30)) @ rng.normal(size=(30, 30)) / 5
    hessian = X.T @ X / 0.3**2
    h = np.linalg.eigvalsh(hessian)
    contraction = (1 - np.linalg.inv(np.eye(30) + hessian).diagonal()).sum()
    return abs((h / (h + 1)).sum() - contraction)
