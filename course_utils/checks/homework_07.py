"""Instant checks of homework 07: properties of the answers, not the answers."""

import itertools

import numpy as np
import torch

from . import Check


class _Torch(Check):
    """A check of an exercise that asks for tensors; a tensor back deserves no note."""

    def _judge(self, answer, got, tensor):
        return super()._judge(answer, got, False)


def _t(a, grad=False):
    return torch.tensor(a, dtype=torch.float64, requires_grad=grad)


def _close(a, b, tol=1e-8):
    a, b = (v.detach().numpy() if isinstance(v, torch.Tensor) else np.asarray(v, float) for v in (a, b))
    return a.shape == b.shape and np.allclose(a, b, rtol=tol, atol=tol)


# ---- 1 ---------------------------------------------------------------------------------------------------------------
_A, _B, _U = [0.7, 2.0, 3.5], [1.3, 0.8, 2.2], [[0.1, 0.5, 0.8], [0.9, 0.2, 0.4]]


def _leads_back(f):
    z = f(_t(_A), _t(_B), _t(_U))
    return _close(1 - (1 - z**_t(_A))**_t(_B), _U)


def _slopes(f):
    a, b = _t(_A, True), _t(_B, True)
    by_autograd = torch.autograd.grad(f(a, b, _t(_U)).sum(), (a, b))
    h = 1e-6
    for k, grad in enumerate(by_autograd):
        up, down = ([_t(_A), _t(_B)] for _ in range(2))
        up[k], down[k] = up[k] + h, down[k] - h
        if not _close(grad, ((f(*up, _t(_U)) - f(*down, _t(_U))) / (2 * h)).sum(0), 1e-5):
            return False
    return True


kumaraswamy = _Torch(
    "kumaraswamy", None, [(_t(_A), _t(_B), _t(_U))],
    properties=[
        ("shape", lambda f: tuple(f(_t(_A), _t(_B), _t(_U)).shape) == (2, 3),
         "a, b of shape (3,) and u of shape (2, 3) should give z of shape (2, 3)"),
        ("rises", lambda f: bool((f(_t(2.0), _t(0.7), _t([0.1, 0.4, 0.8])).diff() > 0).all()), "z must rise with u"),
        ("leads back", _leads_back, "put your z into F: it should give u back, and does not"),
        ("gradients", _slopes,
         "the draws are right, but autograd and finite differences disagree about how they move with a and b: is anything detached?")])


# ---- 2 ---------------------------------------------------------------------------------------------------------------
def _table(rate, n=40):
    """Counts in the proportions of a Poisson distribution of this rate, as 20,000 draws without luck."""
    p = np.exp(np.arange(n) * np.log(rate) - rate - np.cumsum(np.log(np.maximum(np.arange(n), 1))))
    return np.repeat(np.arange(n), np.round(2e4 * p).astype(int)), p


def _both_near(f, cost, rate):
    """The derivative of the mean cost, from two tables of probabilities."""
    (z, _), (_, up), (_, down) = _table(rate), _table(rate + 1e-4), _table(rate - 1e-4)
    slope = (cost(np.arange(40)) @ (up - down)) / 2e-4
    return np.abs(np.asarray(f(cost, rate, z)) - slope) < 0.01 * (1 + abs(slope))


def _constant_cost(f):
    return np.allclose(np.asarray(f(lambda z: 3.0 + 0 * z, 1.5, _table(1.5)[0])), 0, atol=2e-3)


def _free_draws(f):
    """The difference needs no average to be right for f = z: every draw says 1, even if all draws are alike."""
    return abs(f(lambda z: 1.0 * z, 2.0, np.array([0, 7]))[1] - 1) < 1e-9 and abs(f(lambda z: 1.0 * (z > 0), 2.0,
        np.array([0]))[1] - 1) < 1e-9


def _jump(z):
    return 2.0 * (z > 1) - 0.3 * z


poisson_grads = Check(
    "poisson_grads", None, [(_jump, 1.5, np.array([0, 2, 1, 4]))],
    properties=[
        ("two numbers", lambda f: np.shape(f(_jump, 1.5, np.array([0, 2, 1]))) == (2,),
         "it should return two numbers, averages over the draws"),
        ("constant", _constant_cost,
         "a cost that is the same for all counts has gradient 0, and so have both estimates: does the score average to 0?"),
        ("one more", _free_draws,
         "for f(z) = z every draw's difference is 1, and a first count from 0 on makes z > 0 true: what does one more count cost?"),
        ("score", lambda f: _both_near(f, _jump, 1.7)[0],
         "over draws in the right proportions, the first number is not the derivative of the mean cost"),
        ("difference", lambda f: _both_near(f, _jump, 1.7)[1],
         "over draws in the right proportions, the second number is not the derivative of the mean cost"),
        ("both", lambda f: _both_near(f, lambda z: np.sqrt(1.0 + z), 0.8).all(),
         "for a cost of √(1 + z) and a rate of 0.8 the two do not agree with the derivative"),
        ("few draws", lambda f: not np.allclose(*f(_jump, 2.0, np.array([0, 1, 5]))),
         "on few draws the two estimates differ; which of yours is which?"),
        ("order", lambda f: abs(f(lambda z: 1.0 * z, 2.0, np.array([0]))[0]) < 1e-9,
         "a single draw z = 0 with f(z) = z costs nothing, so the score function, first, says 0")])


# ---- 3 ---------------------------------------------------------------------------------------------------------------
def _panel_cost(b):
    return (b.sum(axis=-1) - 0.6)**2 + 0.5 * b[..., 0]


_LOGITS = np.array([-0.8, 0.5])


def _unbiased(f, S, logits):
    """The mean over all possible sets of S panels, each with its probability, against a finite difference of E[f]."""
    panels = np.array(list(itertools.product([0, 1], repeat=len(logits))))

    def chance(ell):
        p = 1 / (1 + np.exp(-ell))
        return np.where(panels == 1, p, 1 - p).prod(axis=1)
    p = chance(logits)
    mean = sum(p[list(rows)].prod() * np.asarray(f(_panel_cost, logits, panels[list(rows)])) for rows in itertools.product(range(len(p)),
        repeat=S))
    h = 1e-5 * np.eye(len(logits))
    return np.allclose(mean, [_panel_cost(panels) @ (chance(logits + e) - chance(logits - e)) / 2e-5 for e in h], atol=1e-7)


def _ignores_offset(f):
    bits = np.array([[0, 1], [1, 1], [1, 0], [0, 0], [1, 1]])
    return np.allclose(f(lambda b: _panel_cost(b) + 50, _LOGITS, bits), f(_panel_cost, _LOGITS, bits))


switch_grads = Check(
    "switch_grads", None, [(_panel_cost, _LOGITS, np.array([[0, 1], [1, 1], [1, 0]]))],
    properties=[
        ("shape", lambda f: np.shape(f(_panel_cost, _LOGITS, np.array([[0, 1], [1, 1], [1, 0]]))) == (2,),
         "one number for each switch: average over the panels"),
        ("offset", _ignores_offset,
         "50 more on every cost must change nothing: is a baseline taken off that is the mean cost of the others?"),
        ("one switch", lambda f: _unbiased(f, 2, np.array([0.7])),
         "averaged over all pairs of draws of one switch, it is not the derivative of the mean cost by the logit"),
        ("two switches", lambda f: _unbiased(f, 3, _LOGITS),
         "averaged over all triples of panels of two switches, it is not the gradient of the mean cost by the logits")])


# ---- 4 ---------------------------------------------------------------------------------------------------------------
def _waiting(z):
    return 1.5 * torch.log(z) - 2.0 * z


_MANY = _t((np.arange(20_000) + 0.5) / 20_000)


def _follows_itself(f):
    rho, u, h = _t(0.4, True), _t([0.3, 0.8, 0.55]), 1e-6
    slope = torch.autograd.grad(f(_waiting, rho, u), rho)[0]
    return _close(slope, (f(_waiting, _t(0.4 + h), u) - f(_waiting, _t(0.4 - h), u)) / (2 * h), 1e-5)


def _no_gap(f, rate):
    """log p(x, z) is the very density of q: log w is 0 for every draw, and so is the ELBO."""
    rho = float(np.log(rate))
    return abs(float(f(lambda z: rho - rate * z, _t(rho, True), _MANY).detach())) < 2e-3


def _quiet_entropy(f):
    """A joint that does not depend on z leaves only the entropy, whatever was drawn."""
    return _close(f(lambda z: 0 * z, _t(0.3, True), _t([0.1, 0.2])), f(lambda z: 0 * z, _t(0.3, True), _t([0.9, 0.6, 0.7])))


def _average(f):
    return _close(f(_waiting, _t(0.2, True), _t([0.3, 0.8])), f(_waiting, _t(0.2, True), _t([0.3, 0.8, 0.3, 0.8])))


exponential_elbo = _Torch(
    "exponential_elbo", None, [(_waiting, _t(0.4, True), _t([0.3, 0.8, 0.55]))],
    properties=[
        ("scalar", lambda f: f(_waiting, _t(0.4, True), _t([0.3, 0.8])).dim() == 0,
         "one number: the average over the draws, plus the entropy"),
        ("average", _average, "the same draws taken twice must not change the estimate"),
        ("quiet entropy", _quiet_entropy,
         "where log p(x, z) does not depend on z only the entropy is left, and it has a closed form: no draw should matter"),
        ("no gap", lambda f: _no_gap(f, 1.0) and _no_gap(f, 2.5) and _no_gap(f, 0.4),
         "where p(x, z) is q itself the ELBO must be 0, for rates of 1, 2.5 and 0.4 alike: look at the rail, then at the entropy"),
        ("gradient", _follows_itself,
         "the value is right, but autograd and finite differences disagree about its slope: what is detached from ρ?")])


# ---- 5 ---------------------------------------------------------------------------------------------------------------
_ROWS = _t([[0.2, 1.4, -0.5], [0.9, -1.0, 0.6]]), _t([[1.9, -0.3, 0.4], [-0.2, 2.3, 0.5]])


def _is_hard(f):
    out = f(*_ROWS, 0.5).detach().double()
    return tuple(out.shape) == (2, 3) and bool(((out.abs() < 1e-6) | ((out - 1).abs() < 1e-6)).all()) and _close(out.sum(-1), [1.0, 1.0],
        1e-6)


def _gradient(f, tau, logits=None, g=None):
    logits, g = (_ROWS[0] if logits is None else logits).clone().requires_grad_(), _ROWS[1] if g is None else g
    return torch.autograd.grad(f(logits, g, tau)[..., 0].sum(), logits)[0]


def _like_softmax(f, tau):
    """How the first share of a softmax of the same sum moves, by finite differences, for two choices."""
    logits, g, h = _t([0.3, -0.4]), _t([-0.2, 0.9]), 1e-6
    share = lambda e: 1 / (1 + torch.exp(((logits + g)[1] - (logits + g)[0] - e) / tau))
    slope = (share(h) - share(-h)) / (2 * h)
    return _close(_gradient(f, tau, logits, g), [slope.item(), -slope.item()], 1e-5)


straight_through = _Torch(
    "straight_through", None, [(*_ROWS, 0.5)],
    properties=[
        ("hard", _is_hard, "going forward each row must hold a single 1 and zeros"),
        ("winner", lambda f: _close(f(*_ROWS, 0.2).argmax(-1), [0, 1]),
         "the winner is the largest of ℓ + g, at every temperature: is the noise in, and τ on the sum?"),
        ("has a gradient", lambda f: float(_gradient(f, 0.5).abs().sum()) > 0,
         "no gradient arrives at the logits: an argmax alone is flat"),
        ("shares", lambda f: _close(_gradient(f, 0.7).sum(-1), [0.0, 0.0]),
         "raising all logits of a row by the same amount must change no share: is the softmax in your gradient?"),
        ("softmax", lambda f: _like_softmax(f, 1.0),
         "for two choices and τ = 1 the gradient is not that of the softmax's share: which of the two is detached?"),
        ("temperature", lambda f: _like_softmax(f, 0.4), "right for τ = 1, but not for τ = 0.4")])
