"""True motion against closed forms in angles, and against what mechanics conserves."""

import math

import pytest
import torch

from bdlcore import dynamics
from bdlcore.dynamics.systems import GRAVITY

TIMES = torch.linspace(0, 1.5, 16, dtype=torch.float64)
SYSTEMS = [
    *(dynamics.pendulum(n) for n in (1, 2, 3)),
    dynamics.coupled_pendulums(3),
    dynamics.rigid_body(),
    dynamics.rigid_body(weight=2.0),
]


def accelerations_in_angles(system, q, rates):
    """d^2q/dt^2 of a chain, from the textbook's equations of motion in angles.

    sum_j m_max(i,j) l_i l_j (cos(q_i - q_j) q_j'' + sin(q_i - q_j) q_j'^2) + m_i g l_i sin q_i = 0, with m_i the mass
    that hangs from rod i.
    """
    l = system.coordinates.lengths
    below = system.masses.flip(0).cumsum(0).flip(0)
    n = len(l)
    mass = torch.stack([torch.stack([below[max(i, j)] * l[i] * l[j] for j in range(n)]) for i in range(n)])
    apart = q[:, :, None] - q[:, None, :]
    right = -(mass * apart.sin()) @ rates.square()[..., None]
    right = right[..., 0] - GRAVITY * below * l * q.sin()
    return torch.linalg.solve(mass * apart.cos(), right)


@pytest.mark.parametrize("links", [1, 2, 3])
def test_the_constrained_vector_field_is_the_closed_form_of_the_pendulum(links):
    system = dynamics.pendulum(links)
    z = system.start(200, 0)
    q, rates = system.coordinates.encode(z)
    changes = rates, accelerations_in_angles(system, q, rates)
    _, want = torch.autograd.functional.jvp(system.coordinates.decode, (q, rates), changes)
    torch.testing.assert_close(system.slope(z), want, rtol=0, atol=1e-10)


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.name)
def test_energy_and_constraints_are_kept(system):
    motion = system.simulate(system.start(3, 0), TIMES, tolerance=1e-12)
    energy = system.energy(motion)
    assert (energy - energy[:, :1]).abs().max() < 1e-8
    assert system.constraints.violation(motion).max() < 1e-8
    assert (motion[:, -1] - motion[:, 0]).abs().max() > 0.1


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.name)
def test_force_is_the_slope_of_the_potential(system):
    x = system.start(7, 0).chunk(2, -1)[0].requires_grad_()
    (want,) = torch.autograd.grad(-system.potential(x).sum(), x, allow_unused=True)
    torch.testing.assert_close(system.force(x), torch.zeros_like(x) if want is None else want)


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.name)
def test_angles_lead_to_cartesian_states_and_back(system):
    z, q_and_rates = system.start(50, 1), system.coordinates.encode(system.start(50, 1))
    torch.testing.assert_close(system.coordinates.decode(*q_and_rates), z, rtol=0, atol=1e-11)
    q, rates = q_and_rates
    _, v = z.chunk(2, -1)
    zero = torch.zeros_like(rates)
    _, change = torch.autograd.functional.jvp(system.coordinates.decode, (q, rates), (rates, zero))
    torch.testing.assert_close(change[:, : v.shape[1]], v, rtol=0, atol=1e-11)


def test_small_swings_have_the_textbooks_periods():
    """One pendulum; and two that are coupled, swinging together or against each other."""
    lengths = torch.tensor([0.7])
    one = dynamics.pendulum(1, lengths=lengths)
    q = torch.tensor([[1e-4]], dtype=torch.float64)
    period = 2 * math.pi * math.sqrt(0.7 / GRAVITY)
    back = one.simulate(one.coordinates.decode(q, 0 * q), torch.tensor([period]).double(), 1e-12)
    torch.testing.assert_close(one.coordinates.encode(back[:, 0])[0], q, rtol=0, atol=1e-11)
    two = dynamics.coupled_pendulums(2, stiffness=7.0)
    for sign, stiffness in ((1.0, GRAVITY), (-1.0, GRAVITY + 2 * 7.0)):
        q = 1e-4 * torch.tensor([[1.0, sign]], dtype=torch.float64)
        quarter = torch.tensor([0.5 * math.pi / math.sqrt(stiffness)]).double()
        angle, _ = two.coordinates.encode(
            two.simulate(two.coordinates.decode(q, 0 * q), quarter, 1e-12)[:, 0]
        )
        assert angle.abs().max() < 2e-7


def test_a_free_rotor_keeps_its_angular_momentum():
    """L = sum_i J_i e_i x de_i/dt, a vector in space; and with a weight, its vertical part alone."""

    def momentum(system, states):
        axes, velocities = (part.unflatten(-1, (3, 3)) for part in states.chunk(2, -1))
        return (system.masses[:, None] * torch.linalg.cross(axes, velocities)).sum(-2)

    rotor, top = dynamics.rigid_body(), dynamics.rigid_body(weight=2.0)
    z = rotor.start(3, 4)
    L = momentum(rotor, rotor.simulate(z, TIMES, 1e-12))
    torch.testing.assert_close(L, L[:, :1].expand_as(L), rtol=0, atol=1e-8)
    L = momentum(top, top.simulate(z, TIMES, 1e-12))
    torch.testing.assert_close(L[..., 2], L[:, :1, 2].expand_as(L[..., 2]), rtol=0, atol=1e-8)
    assert (L[..., 0] - L[:, :1, 0]).abs().max() > 0.1


def test_rotations_are_proper_and_uniform():
    z = dynamics.rigid_body().start(4000, 0)
    axes = z[:, :9].view(-1, 3, 3)
    torch.testing.assert_close(torch.linalg.det(axes), torch.ones(4000, dtype=torch.float64))
    assert axes.mean(0).abs().max() < 5 / math.sqrt(3 * 4000)


def test_chunks_are_pieces_of_the_trajectories():
    motion = torch.arange(4 * 9 * 2, dtype=torch.float64).view(4, 9, 2)
    x, y = dynamics.chunks(motion, 3, seed=0)
    assert x.shape == (4, 2) and y.shape == (4, 6)
    steps = torch.cat([x[:, None], y.unflatten(1, (3, 2))], 1).diff(dim=1)
    assert (steps == 2).all()
    assert (x[:, 0].long() // 18 == torch.arange(4)).all()
    many = dynamics.chunks(motion[:1].expand(4000, -1, -1), 3, seed=1)[0]
    assert sorted(set(many[:, 0].tolist())) == [0, 2, 4, 6, 8, 10]


def test_constants_are_the_same_every_time_and_may_be_given():
    a, b = dynamics.pendulum(3), dynamics.pendulum(3)
    assert torch.equal(a.masses, b.masses) and a.masses.min() >= 0.6 and a.masses.max() <= 1.4
    assert dynamics.pendulum(2, masses=[1, 2]).masses.tolist() == [1.0, 2.0]


def test_bad_arguments():
    with pytest.raises(ValueError, match="links"):
        dynamics.pendulum(0)
    with pytest.raises(ValueError, match="masses must hold 2 numbers"):
        dynamics.pendulum(2, masses=torch.ones(3))
    with pytest.raises(ValueError, match="lengths must be positive"):
        dynamics.pendulum(1, lengths=torch.tensor([-1.0]))
    with pytest.raises(ValueError, match="stiffness"):
        dynamics.coupled_pendulums(2, stiffness=0.0)
    with pytest.raises(ValueError, match="weight"):
        dynamics.rigid_body(weight=-1.0)
    system = dynamics.pendulum(1)
    with pytest.raises(ValueError, match="samples"):
        system.start(0, 0)
    with pytest.raises(ValueError, match="ascending"):
        system.simulate(system.start(1, 0), torch.tensor([1.0, 0.5]))
    with pytest.raises(ValueError, match="states must have shape"):
        system.simulate(torch.zeros(1, 6), TIMES)
    with pytest.raises(ValueError, match="T > steps"):
        dynamics.chunks(torch.zeros(2, 3, 4), 3, seed=0)
