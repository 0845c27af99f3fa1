"""Quadratic constraints against autograd, and projections against what defines them."""

import pytest
import torch

from bdlcore import dynamics

SYSTEMS = {
    "one link": dynamics.pendulum(1),
    "three links": dynamics.pendulum(3),
    "coupled": dynamics.coupled_pendulums(3),
    "rigid body": dynamics.rigid_body(),
}


@pytest.fixture(params=SYSTEMS, scope="module")
def system(request):
    return SYSTEMS[request.param]


def test_jacobian_and_curvature_are_those_of_autograd(system):
    c, (x, v) = system.constraints, system.start(5, 0).chunk(2, -1)
    G = torch.stack([torch.autograd.functional.jacobian(c.residual, row) for row in x])
    torch.testing.assert_close(c.jacobian(x), G, rtol=0, atol=1e-13)
    _, along = torch.autograd.functional.jvp(lambda x: (c.jacobian(x) @ v[..., None])[..., 0], x, v)
    torch.testing.assert_close(c.curvature(v), along, rtol=0, atol=1e-13)


def test_states_of_the_system_satisfy_its_constraints(system):
    assert system.constraints.violation(system.start(200, 1)).max() < 1e-13


def test_violation_sees_a_position_and_a_velocity(system):
    z = system.start(1, 0)[0]
    for index in range(len(z)):
        moved = z.clone()
        moved[index] += 0.1
        seen = system.constraints.violation(moved)
        G = system.constraints.jacobian(z.chunk(2)[0])[:, index % (len(z) // 2)]
        assert seen > 0.01 or G.abs().max() < 0.2


def test_projection_returns_to_the_constraints(system):
    c, z = system.constraints, system.start(200, 2)
    moved = z + 0.02 * torch.randn(z.shape, generator=torch.Generator().manual_seed(0), dtype=z.dtype)
    back = c.project(moved, system.inverse_masses)
    assert c.violation(back).max() < 1e-12 < 1e-3 < c.violation(moved).median()
    assert (back - z).abs().max() < 0.5
    torch.testing.assert_close(c.project(z), z, rtol=0, atol=1e-12)
    assert c.violation(c.project(moved.float())).max() < 1e-4  # rounding: below 2e-5 on any stream


def test_the_tangent_is_the_nearest_in_kinetic_energy(system):
    """v - tangent(v) is orthogonal, in the metric M, to all velocities that the constraints allow."""
    c, (x, _), w = system.constraints, system.start(20, 3).chunk(2, -1), system.inverse_masses
    g = torch.Generator().manual_seed(1)
    v, other = (torch.randn(x.shape, generator=g, dtype=x.dtype) for _ in range(2))
    rest, allowed = v - c.tangent(x, v, w), c.tangent(x, other, w)
    assert (rest * allowed / w).sum(-1).abs().max() < 1e-12
    assert (c.jacobian(x) @ allowed[..., None]).abs().max() < 1e-12


def test_what_is_too_far_off_is_said():
    c = dynamics.rigid_body().constraints
    with pytest.raises(RuntimeError, match="too far from any"):
        c.project(torch.zeros(1, 18, dtype=torch.float64) + 1e-3, iterations=3)


def test_bad_arguments():
    c = SYSTEMS["three links"].constraints
    with pytest.raises(ValueError, match="symmetric"):
        dynamics.Constraints(torch.triu(torch.ones(2, 3, 3)), torch.ones(2), 2)
    with pytest.raises(ValueError, match="one symmetric matrix per level"):
        dynamics.Constraints(torch.ones(2, 3, 3), torch.ones(3), 2)
    with pytest.raises(ValueError, match=r"states must have shape \(\.\.\., 12\)"):
        c.project(torch.zeros(4, 6))
    with pytest.raises(ValueError, match="states contains"):
        c.project(torch.full((1, 12), torch.nan))
    with pytest.raises(ValueError, match="dimensions"):
        dynamics.Constraints(torch.ones(1, 1, 1), torch.ones(1), 0)
