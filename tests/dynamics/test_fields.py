"""Vector fields of a stack against autograd, against each other, and against the true motion."""

import pytest
import torch

import bdlcore as bdl
from bdlcore import dynamics

THREE, ROTOR = dynamics.pendulum(3), dynamics.rigid_body()
SYSTEMS = {"three links": THREE, "rotor": ROTOR}
KINDS = {
    "free": lambda system: dynamics.FreeField(system.coordinates, hidden=5),
    "free Cartesian": lambda system: dynamics.FreeField(width=system.width, hidden=5),
    "angle Hamiltonian": lambda system: dynamics.AngleHamiltonian(system.coordinates, 5),
    "angle Lagrangian": lambda system: dynamics.AngleLagrangian(system.coordinates, 5),
    "constrained Hamiltonian": lambda system: dynamics.ConstrainedHamiltonian(system.constraints, 5),
    "constrained Lagrangian": lambda system: dynamics.ConstrainedLagrangian(system.constraints, 5),
    "Cartesian Hamiltonian": lambda system: dynamics.CartesianHamiltonian(system.constraints, 5),
}


def stack_of(field, rows=3, seed=0):
    model = bdl.Model(
        dynamics.RollOut(field, 0.01, 2), bdl.GaussianPrior(0.7, fan_in=True), bdl.Gaussian(0.1)
    )
    return model, model.sample_prior(rows, seed, dtype=torch.float64)


def prepared(field, system, rows=3, states=4):
    """The field's parts for a stack, and states inside for Cartesian ones, (rows, states, ...)."""
    _, stack = stack_of(field, rows)
    parts = field.unpack(stack.weights)
    return parts, field.enter(parts, system.start(states, 5).expand(rows, -1, -1))


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("kind", KINDS)
def test_states_go_in_and_come_out(kind, system):
    system = SYSTEMS[system]
    field = KINDS[kind](system)
    parts, z = prepared(field, system)
    out = field.leave(parts, z)
    torch.testing.assert_close(out, system.start(4, 5).expand(3, -1, -1), rtol=0, atol=1e-10)
    assert field.slope(parts, z).shape == z.shape


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_a_stack_do_not_see_each_other(kind):
    field = KINDS[kind](THREE)
    model, stack = stack_of(field)
    x = THREE.start(5, 1)
    together = model.functions(stack, x)
    alone = torch.cat([model.functions(row, x) for row in stack])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-11)
    field.double().load_state_dict({k.removeprefix("field."): v for k, v in stack.state_dicts()[1].items()})
    torch.testing.assert_close(dynamics.RollOut(field, 0.01, 2)(x), together[1], rtol=0, atol=1e-11)


def mass_and_potential(field, parts, q):
    """M (3, 4, f, f) and V (3, 4) of angles, from the networks' outputs."""
    seen = torch.cat([q.cos(), q.sin()], -1)
    values = field.mass.run(parts[0], seen)[0]
    f = q.shape[-1]
    L = q.new_zeros(*q.shape, f)
    rows, columns = torch.tril_indices(f, f)
    L[..., rows, columns] = torch.where(
        rows == columns, torch.nn.functional.softplus(values + 0.38) + 0.1, values
    )
    return L @ L.mT, field.energy.run(parts[1], seen)[0][..., 0]


@pytest.mark.parametrize("system", SYSTEMS)
def test_hamiltons_equations_in_angles(system):
    field = KINDS["angle Hamiltonian"](SYSTEMS[system])
    parts, z = prepared(field, SYSTEMS[system])
    z = z.detach().requires_grad_()
    q, p = z.chunk(2, -1)
    M, V = mass_and_potential(field, parts, q)
    H = 0.5 * (p[..., None, :] @ torch.linalg.solve(M, p[..., None]))[..., 0, 0] + V
    slope = torch.autograd.grad(H.sum(), z)[0]
    dH_dq, dH_dp = slope.chunk(2, -1)
    want = torch.cat([dH_dp, -dH_dq], -1)
    torch.testing.assert_close(field.slope(parts, z), want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("system", SYSTEMS)
def test_lagranges_equation_in_angles(system):
    """d/dt (dL/dr) = dL/dq along the field: the left side by a derivative along (r, dr/dt)."""
    field = KINDS["angle Lagrangian"](SYSTEMS[system])
    parts, z = prepared(field, SYSTEMS[system])
    rates, accelerations = field.slope(parts, z).detach().chunk(2, -1)

    def slopes(q, r):
        M, V = mass_and_potential(field, parts, q)
        L = (0.5 * (r[..., None, :] @ M @ r[..., None])[..., 0, 0] - V).sum()
        return torch.autograd.grad(L, (q, r), create_graph=True)

    q, r = (part.detach().requires_grad_() for part in z.chunk(2, -1))
    dL_dq, _ = slopes(q, r)
    _, change = torch.autograd.functional.jvp(lambda q, r: slopes(q, r)[1], (q, r), (rates, accelerations))
    torch.testing.assert_close(change, dL_dq, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize(
    "pair", [("angle Hamiltonian", "angle Lagrangian"), ("constrained Hamiltonian", "constrained Lagrangian")]
)
def test_the_lagrangian_and_the_hamiltonian_form_are_one_motion(pair, system):
    """With the same weights they differ in the state that is integrated, so by the integrator's error alone."""
    system, x = SYSTEMS[system], SYSTEMS[system].start(3, 7)
    motions = []
    for kind in pair:
        model, stack = stack_of(KINDS[kind](system))
        model = bdl.Model(dynamics.RollOut(model.network.field, 0.01, 2, 20), model.prior, model.likelihood)
        motions.append(model.functions(stack, x))
    torch.testing.assert_close(*motions, rtol=0, atol=1e-8)


@pytest.mark.parametrize("links", [1, 2, 3])
@pytest.mark.parametrize("kind", ["constrained Hamiltonian", "constrained Lagrangian"])
def test_with_the_true_masses_and_potential_the_field_is_the_true_one(kind, links, monkeypatch):
    system = dynamics.pendulum(links)
    field = KINDS[kind](system)
    monkeypatch.setattr(field.energy, "slope", lambda layers, x: -system.force(x))
    weights = torch.zeros(1, sum(p.numel() for p in field.parameters()), dtype=torch.float64)
    weights[0, :links] = system.masses.log()
    parts, states = field.unpack(weights), system.start(100, 0)[None]
    z = field.enter(parts, states)
    # dz/dt inside, and its Cartesian velocities and accelerations
    found = field.leave(parts, field.slope(parts, z))
    torch.testing.assert_close(found, system.slope(states), rtol=0, atol=1e-10)


def test_the_projected_hamiltonian_flow_is_the_papers_formula():
    """P J grad H with P = I - J DPhi (DPhi^T J DPhi)^-1 DPhi^T, on the constraints and off them."""
    field = KINDS["constrained Hamiltonian"](THREE)
    parts, z = prepared(field, THREE, rows=1)
    z = (z + 0.1 * torch.randn(z.shape, generator=torch.Generator().manual_seed(0), dtype=z.dtype)).detach()
    inverse, energy = parts[0][0, 0], parts[1]
    n = z.shape[-1] // 2
    J = torch.zeros(2 * n, 2 * n, dtype=z.dtype)
    J[:n, n:], J[n:, :n] = torch.eye(n), -torch.eye(n)
    c = THREE.constraints

    def both(row):
        x, p = row.chunk(2)
        return torch.cat([c.residual(x), c.jacobian(x) @ (inverse * p)])

    def energy_of(row):
        x, p = row.chunk(2)
        return 0.5 * (p * p * inverse).sum() + field.energy.run(energy, x[None, None])[0].sum()

    for row, found in zip(z[0], field.slope(parts, z)[0], strict=True):
        D = torch.autograd.functional.jacobian(both, row).mT
        grad = torch.autograd.functional.jacobian(energy_of, row)
        P = torch.eye(2 * n, dtype=z.dtype) - J @ D @ torch.linalg.solve(D.mT @ J @ D, D.mT)
        torch.testing.assert_close(found, P @ J @ grad, rtol=1e-9, atol=1e-9)


def test_constrained_roll_outs_stay_on_the_constraints_and_free_ones_leave():
    times = torch.linspace(0.1, 1, 10, dtype=torch.float64)
    for kind, stays in [
        ("constrained Hamiltonian", True),
        ("constrained Lagrangian", True),
        ("Cartesian Hamiltonian", False),
    ]:
        for system in SYSTEMS.values():
            model, stack = stack_of(KINDS[kind](system))
            motion = dynamics.adaptive_roll_out(model, stack, system.start(3, 2), times, 1e-10)
            worst = system.constraints.violation(motion).max()
            assert worst < 1e-7 if stays else worst > 1e-2


def test_a_wrong_rod_is_put_onto_its_own_constraints():
    wrong = THREE.constraints.with_levels(THREE.constraints.levels * torch.tensor([1.0, 1.21, 1.0]))
    model, stack = stack_of(dynamics.ConstrainedHamiltonian(wrong, 5))
    f = model.functions(stack, THREE.start(3, 0)).unflatten(-1, (2, -1))
    assert wrong.violation(f).max() < 1e-6 < 0.01 < THREE.constraints.violation(f).min()


def test_constants_of_a_pendulum():
    """With its true constants it moves as the system does; a heavier pair of the same ratio moves no differently."""
    system = dynamics.pendulum(2)
    field = dynamics.PendulumConstants(2)
    model = bdl.Model(dynamics.RollOut(field, 0.05, 4, 20), bdl.GaussianPrior(0.5), bdl.Gaussian(0.1))
    assert model.layout.names == ("field.log_masses", "field.log_lengths")
    true = torch.cat([system.masses.log(), system.coordinates.lengths.log()])
    rows = torch.stack([true, true + torch.tensor([0.3, 0.3, 0.0, 0.0]), true + torch.tensor([0.3, 0, 0, 0])])
    stack = bdl.Stack(model.layout.whitened(rows), model.layout)
    x = system.start(5, 0)
    f = model.functions(stack, x)
    want = system.simulate(x, 0.05 * torch.arange(1, 5).double(), 1e-11).flatten(1)
    torch.testing.assert_close(f[0], want, rtol=0, atol=1e-6)
    torch.testing.assert_close(f[1], f[0], rtol=0, atol=1e-10)
    assert (f[2] - f[0]).abs().max() > 1e-2


def test_bad_arguments():
    with pytest.raises(ValueError, match="needs coordinates, or the width"):
        dynamics.FreeField()
    with pytest.raises(ValueError, match="hidden"):
        dynamics.AngleHamiltonian(THREE.coordinates, 0)
    with pytest.raises(ValueError, match="links"):
        dynamics.PendulumConstants(0)
