"""Checks of lesson 13: constraints and their multipliers, projections, the error of a roll-out, and coordinates."""

from __future__ import annotations

import torch

from .._machine import exercise
from .._trial import Trial


@exercise(
    "relative-error",
    points=1,
    hints=(
        "A norm over the numbers of a state (the last axis), then a mean over time (the axis before it).",
        "The geometric mean is exp(mean(log e)).",
        "e = (p - t).norm(dim=-1) / (p.norm(dim=-1) + t.norm(dim=-1));  e.log().mean(-1).exp()",
    ),
)
def relative_error(answer: object, trial: Trial) -> None:
    """Geometric mean over time of the relative error of roll-outs (N, T, D)."""
    N, T, D = trial.integer(3, 4), trial.integer(6, 8), 5
    true = trial.randn(N, T, D)
    growth = torch.logspace(-3, 0, T, dtype=torch.float64)[:, None]
    predicted = 1.3 * true + growth * trial.randn(N, T, D)
    length = true.square().sum(-1).sqrt(), predicted.square().sum(-1).sqrt()
    missed = (predicted - true).square().sum(-1).sqrt()
    errors = missed / (length[0] + length[1])
    want = torch.exp(errors.log().sum(1) / T)
    got = trial.call(answer, predicted, true)
    mistakes = {
        "That is the arithmetic mean over time, which sees the end of a roll-out alone.": errors.mean(1),
        "You divided by the length of the true state alone; both lengths are in the denominator.": (
            (missed / length[0]).log().mean(1).exp()
        ),
        "You divided by the length of the predicted state alone; both lengths are in the denominator.": (
            (missed / length[1]).log().mean(1).exp()
        ),
        "You divided by |p + t|; the lengths are added, not the states.": (
            (missed / (predicted + true).norm(dim=-1)).log().mean(1).exp()
        ),
        "That is the mean of the logarithms; take its exponential.": errors.log().mean(1),
        "You also averaged over the trajectories; one number for each is asked for.": want.log().mean().exp(),
        "The axes are exchanged: you averaged over trajectories, and kept time.": errors.log().mean(0).exp(),
        "Norms over all times together leave one error per trajectory, and nothing to average.": (
            (predicted - true).flatten(1).norm(dim=1)
            / (true.flatten(1).norm(dim=1) + predicted.flatten(1).norm(dim=1))
        ),
        "You took squared lengths; take their roots.": (
            (missed**2 / (length[0] ** 2 + length[1] ** 2)).log().mean(1).exp()
        ),
    }
    trial.judge(
        got, want, mistakes, "exp of the mean over time of log(|p - t| / (|p| + |t|)), per trajectory."
    )


@exercise(
    "runge-kutta",
    points=1,
    hints=(
        "Four slopes: at the start, twice in the middle, at the end; each is evaluated where the last one leads.",
        "The slopes in the middle count twice: their weights are 1, 2, 2, 1, over 6.",
        "k2 = f(z + h / 2 * k1), k3 = f(z + h / 2 * k2), k4 = f(z + h * k3);  z + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)",
    ),
)
def runge_kutta(answer: object, trial: Trial) -> None:
    """One step of the classical Runge-Kutta method."""
    D, h = trial.integer(3, 4), trial.uniform(0.6, 0.9)
    z, A, calls = trial.randn(D), trial.randn(D, D), [0]

    def f(z: torch.Tensor) -> torch.Tensor:
        calls[0] += 1
        return torch.tanh(A @ z) - 0.3 * z

    def slopes(a: float, b: float, c: float, chained: bool = True) -> tuple[torch.Tensor, ...]:
        k1 = f(z)
        k2 = f(z + a * h * k1)
        k3 = f(z + b * h * (k2 if chained else k1))
        return k1, k2, k3, f(z + c * h * k3)

    k1, k2, k3, k4 = slopes(0.5, 0.5, 1.0)
    want = z + h * (k1 + 2 * k2 + 2 * k3 + k4) / 6
    calls[0] = 0
    got = trial.call(answer, f, z, h)
    full, half = slopes(1.0, 1.0, 1.0), slopes(0.5, 0.5, 0.5)
    other = slopes(0.5, 0.5, 1.0, chained=False)

    def sums(k: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return z + h * (k[0] + 2 * k[1] + 2 * k[2] + k[3]) / 6

    mistakes = {
        "All four slopes have the same weight; those in the middle count twice.": z
        + h * (k1 + k2 + k3 + k4) / 4,
        "That is Euler's step.": z + h * k1,
        "That is the midpoint method, which stops after two slopes.": z + h * k2,
        "That is the change; add it to z.": want - z,
        "The middle slopes are taken at the end: go half a step, h / 2.": sums(full),
        "The last slope is taken in the middle: go a whole step, h k3.": sums(half),
        "k3 starts from k1 again; it goes along k2.": sums(other),
        "The weights sum to 6: divide by it.": z + h * (k1 + 2 * k2 + 2 * k3 + k4),
        "h is missing in the last line.": z + (k1 + 2 * k2 + 2 * k3 + k4) / 6,
    }
    trial.judge(got, want, mistakes, "z + h (k1 + 2 k2 + 2 k3 + k4) / 6.")


@exercise(
    "constraint-jacobian",
    points=2,
    hints=(
        "Constraint i involves two bodies, i and i - 1: its row has non-zero entries in at most four places.",
        "With d = x_i - x_{i-1}: the derivative with respect to x_i is d, with respect to x_{i-1} it is -d.",
        "Fill G of shape (n, n, 2): G[i, i] = d_i, G[i, i - 1] = -d_i for i > 0; then G.reshape(n, 2 n).",
    ),
)
def constraint_jacobian(answer: object, trial: Trial) -> None:
    """Jacobian of the rods of a chain, by autograd."""
    n = 3 + trial.index % 2
    x = trial.randn(n, 2)

    def phi(flat: torch.Tensor) -> torch.Tensor:
        bodies = torch.cat([torch.zeros(1, 2, dtype=flat.dtype), flat.view(n, 2)])
        return 0.5 * bodies.diff(dim=0).square().sum(1)

    want = torch.autograd.functional.jacobian(phi, x.flatten())
    diagonal = torch.stack([torch.eye(n, dtype=torch.float64)[i].repeat_interleave(2) for i in range(n)])
    from_origin = torch.cat([x[:1], x[1:] - x[:-1]])
    got = trial.call(answer, x)
    unsigned = want.clone()
    for i in range(1, n):
        unsigned[i, 2 * i - 2 : 2 * i] *= -1
    mistakes = {
        "A factor of two: φ has a factor ½ in front.": 2 * want,
        "A factor of a half: the derivative of ½|d|² is d.": want / 2,
        "All signs are turned.": -want,
        "The upper end of each rod moves too: x_{i-1} has the derivative -(x_i - x_{i-1}).": want * diagonal,
        "The sign at the upper end: moving x_{i-1} along the rod makes it shorter.": unsigned,
        "The rods are not measured from the origin but from the body before: d_i = x_i - x_{i-1}.": (
            diagonal * x.flatten()
        ),
        "Transposed: one row per constraint, one column per coordinate.": want.T,
        "The coordinates are in another order: x and y of one body lie beside each other.": (
            want.view(n, n, 2).transpose(1, 2).reshape(n, 2 * n)
        ),
        "Those are the rods themselves; each becomes a row of length 2 n.": from_origin,
    }
    trial.judge(
        got,
        want,
        mistakes,
        "Row i is x_i - x_{i-1} in the columns of body i, and minus that in those of i - 1.",
    )


@exercise(
    "newton-projection",
    points=2,
    hints=(
        "To first order φ(x + δ) = φ + Gδ. Which δ makes it 0, and is as small as can be in the metric M?",
        "δ = -M⁻¹Gᵀλ for some λ. Put it into φ + Gδ = 0 and solve for λ.",
        "w = 1 / masses;  lam = torch.linalg.solve(G * w @ G.T, phi);  x - w * (G.T @ lam)",
    ),
)
def newton_projection(answer: object, trial: Trial) -> None:
    """One Newton step onto constraints, in the metric of the masses."""
    K, D = 2, trial.integer(5, 6)
    x, phi, G = trial.randn(D), trial.randn(K), trial.randn(K, D)
    masses = trial.rand(D) + torch.tensor([0.5, 2.0], dtype=torch.float64).repeat(3)[:D]

    def step(weights: torch.Tensor, inner: torch.Tensor, sign: float = -1.0) -> torch.Tensor:
        return x + sign * weights * (G.T @ torch.linalg.solve((G * inner) @ G.T, phi))

    w, one = 1 / masses, torch.ones_like(masses)
    want = step(w, w)
    got = trial.call(answer, x, phi, G, masses)
    mistakes = {
        "The sign: the step goes against φ, so that G δ = -φ.": step(w, w, 1.0),
        "The masses did not take part: that is the nearest point when all weigh the same.": step(one, one),
        "You multiplied by the masses; a heavy body moves less, so divide.": step(masses, masses),
        "The inverse masses are missing inside the matrix: S = G M⁻¹ Gᵀ.": step(w, one),
        "The inverse masses are missing outside: δ = -M⁻¹Gᵀλ.": step(one, w),
        "That is the step δ; add it to x.": want - x,
        "That is a step of gradient descent on |φ|²/2; solve with G M⁻¹ Gᵀ.": (
            x - w * (G.T @ phi),
            x - G.T @ phi,
        ),
        "The root of the masses took part; the metric has the masses themselves.": step(w.sqrt(), w.sqrt()),
    }
    trial.judge(got, want, mistakes, "x - M⁻¹Gᵀ (G M⁻¹ Gᵀ)⁻¹ φ.")


@exercise(
    "bug-sign-of-the-multiplier",
    points=2,
    hints=(
        "The constraint force must cancel what would violate the constraint. Print G a + turning for the shipped code.",
        "S λ = G M⁻¹F + turning makes G M⁻¹(F - Gᵀλ) = -turning. Which sign has Gᵀλ in the last line?",
        "return (force - G.T @ multipliers) / masses",
    ),
)
def bug_sign_of_the_multiplier(answer: object, trial: Trial) -> None:
    """Find the bug: the multipliers push away from the constraints."""
    K, D = 2, trial.integer(5, 6)
    force, G, turning = trial.randn(D), trial.randn(K, D), 1 + trial.rand(K)
    masses = 0.5 + 2 * trial.rand(D)
    S, free = (G / masses) @ G.T, G @ (force / masses)

    def accelerations(multipliers: torch.Tensor, sign: float = -1.0) -> torch.Tensor:
        return (force + sign * G.T @ multipliers) / masses

    multipliers = torch.linalg.solve(S, free + turning)
    want = accelerations(multipliers)
    got = trial.call(answer, force, G, turning, masses)
    trial.unchanged_if_close(got, accelerations(multipliers, 1.0))
    mistakes = {
        "Now G a = +turning: the term that turns along with the motion has the wrong sign.": (
            accelerations(torch.linalg.solve(S, free - turning))
        ),
        "Both signs changed, which changes nothing but the sign of λ inside: G a is still not -turning.": (
            accelerations(torch.linalg.solve(S, turning - free))
        ),
        "The force of the constraints is missing: that is the motion without them.": force / masses,
        "Those are forces; divide by the masses.": want * masses,
        "The motion's own term, (dG/dt) v, is lost: that is right for a body at rest alone.": (
            accelerations(torch.linalg.solve(S, free))
        ),
        "The constraint's force has to be divided by the masses, too.": force / masses - G.T @ multipliers,
    }
    trial.judge(got, want, mistakes, "a must satisfy G a = -turning, with M a = F - Gᵀλ.")


@exercise(
    "tension",
    points=2,
    hints=(
        "The bob moves on a circle: towards its centre it needs the acceleration |v|²/l.",
        "Along the rod: tension minus the part of the weight that pulls outwards equals m |v|²/l.",
        "With x the place of the bob, down = -x[1] / l is the cosine of the angle:  m (|v|²/l + g down)",
    ),
)
def tension(answer: object, trial: Trial) -> None:
    """Tension of a pendulum's rod, from its place and velocity."""
    angle, rate = trial.uniform(-1.2, 1.2), trial.uniform(0.8, 2.0) * (-1) ** trial.index
    length, mass, g = trial.uniform(0.5, 0.8), trial.uniform(1.5, 2.5), 9.81
    at = torch.tensor(angle, dtype=torch.float64)
    x = length * torch.stack([at.sin(), -at.cos()])
    v = length * rate * torch.stack([at.cos(), at.sin()])
    pull, turn = g * at.cos(), length * rate**2
    want = mass * (turn + pull)
    got = trial.call(answer, x, v, mass)
    mistakes = {
        "That holds for a pendulum at rest; on its circle the bob also needs |v|²/l towards the centre.": mass
        * pull,
        "The weight is missing: its part along the rod pulls outwards.": mass * turn,
        "The sign of gravity: below the pivot the weight pulls outwards, and the rod must hold it.": (
            mass * (turn - pull)
        ),
        "The sign of |v|²/l: the faster, the larger the tension.": mass * (pull - turn),
        "The mass is missing: that is an acceleration.": turn + pull,
        "The whole weight took part; only its part along the rod does, the cosine.": mass * (turn + g),
        "The sine of the angle is the part of the weight across the rod; take the cosine.": (
            mass * (turn + g * at.sin()),
            mass * (turn + g * at.sin().abs()),
        ),
        "|v|² has to be divided by the length.": mass * (turn * length + pull),
        "You divided |v| by the length, not |v|².": mass * (abs(rate) + pull),
        "That is λ of the constraint ½(|x|² - l²): its force is λ x, whose size is λ l.": want / length,
        "A pull towards the pivot is asked for as a positive number.": -want,
    }
    trial.judge(got, want, mistakes, "m (|v|²/l + g cos θ).")


@exercise(
    "constant-mass-matrix",
    points=3,
    hints=(
        "A point a share s along the rod has the velocity (1 - s) v_a + s v_b. What is its kinetic energy?",
        "Integrate ½ m |(1 - s) v_a + s v_b|² over s from 0 to 1: (1-s)², s² and s(1-s) give 1/3, 1/3 and 1/6.",
        "torch.kron(m * tensor([[1/3, 1/6], [1/6, 1/3]]), torch.eye(2))",
    ),
)
def constant_mass_matrix(answer: object, trial: Trial) -> None:
    """Mass matrix of a uniform rod in the Cartesian coordinates of its ends, by summing over many pieces."""
    mass = trial.uniform(1.5, 4.0)
    s = (torch.arange(2000, dtype=torch.float64) + 0.5) / 2000
    share = torch.stack([1 - s, s])
    want = mass * torch.kron(share @ share.T / 2000, torch.eye(2, dtype=torch.float64))
    eye = torch.eye(4, dtype=torch.float64)
    got = trial.call(answer, mass)
    cross = want - want * eye
    mistakes = {
        "That is two point masses at the ends: it turns too heavily. The mass is spread along the rod.": 0.5
        * mass
        * eye,
        "That is all of the mass in the middle: it turns as if it weighed nothing.": (
            0.25 * mass * torch.ones(2, 2, dtype=torch.float64).kron(eye[:2, :2])
        ),
        "The cross terms are missing: a point between the ends moves with both.": want * eye,
        "The cross terms count once in the matrix: T = ½ vᵀMv takes each of them twice by itself.": want
        + cross,
        "A factor of two: T = ½ vᵀMv has its own ½.": 0.5 * want,
        "Twice too much: T = ½ vᵀMv.": 2 * want,
        "The order is (x_a, y_a, x_b, y_b); yours is (x_a, x_b, y_a, y_b).": (
            torch.kron(eye[:2, :2], want[::2, ::2])
        ),
        "The mass is missing: that is the matrix of a rod of 1 kg.": want / mass,
        "The sign of the cross terms: ends that move alike carry more energy, not less.": want - 2 * cross,
        "Ends on a line: each of them has two coordinates, so that M is (4, 4).": want[::2, ::2],
    }
    trial.judge(got, want, mistakes, "½ vᵀMv must be the kinetic energy of a uniform rod.", rtol=1e-5)
