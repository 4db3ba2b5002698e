"""Checks of lesson 07: reparameterise, the two gradients, their baselines, sticking the landing, Gumbel-softmax."""

import numpy as np
import torch
from scipy.special import log_softmax, softmax
from scipy.stats import norm

from . import Check, Mutant


def _tensors(function):
    """`function`, given tensors: an array as a float64 tensor, a number as one that asks for its gradient."""
    def given_tensors(*case):
        return function(*(torch.tensor(a, dtype=torch.float64, requires_grad=isinstance(a, float)) if isinstance(a, (float, np.ndarray))
                          else a for a in case))
    return given_tensors


class TorchCheck(Check):
    """A check whose answer takes and returns tensors: its cases are numbers and arrays, and NumPy would not do."""

    def __init__(self, name, oracle, cases, mutants, **more):
        super().__init__(name, oracle, cases, [m._replace(wrong=_tensors(m.wrong)) for m in mutants], **more)

    def __call__(self, answer):
        return super().__call__(_tensors(answer) if callable(answer) else answer)

    def _judge(self, answer, got, tensor):
        return super()._judge(answer, got, False)


SUM = "that is the sum over the draws; average over them"

# ---- 7.1 -------------------------------------------------------------------------------------------------------------
FLOW = ("the numbers are right, but no gradient reaches mu and logvar as it should: keep them tensors, without detach, "
        "numpy or item, and do not draw inside")


def _by_quantiles(mu, logvar, eps):
    return norm.ppf(norm.cdf(eps), loc=mu, scale=np.exp(logvar)**0.5)


def _gradients_flow(f):
    mu, logvar, eps = (torch.tensor(v, dtype=torch.float64) for v in ((0.5, -1.0), (0.3, -1.0), (1.0, -0.5)))
    mu.requires_grad_(), logvar.requires_grad_()
    by_mu, by_logvar = torch.autograd.grad(f(mu, logvar, eps).sum(), (mu, logvar))
    return torch.allclose(by_mu, torch.ones_like(mu)) and torch.allclose(by_logvar, eps * torch.exp(logvar.detach() / 2) / 2)


reparameterise = TorchCheck(
    "reparameterise", _by_quantiles,
    [(np.array([0.5, -1.0]), np.array([0.0, -1.0]), np.array([1.0, -0.5])), (np.array([0.0]), np.array([1.4]), np.array([2.0])),
     (np.array([1.0, 2.0]), np.array([-0.7, 0.9]), np.array([[0.1, -0.2], [1.1, -1.5], [0.4, 2.0]]))],
    [Mutant("variance for standard deviation", lambda mu, logvar, eps: mu + logvar.exp() * eps,
            "exp(logvar) is σ², a variance; ε is stretched by σ"),
     Mutant("logvar not exponentiated", lambda mu, logvar, eps: mu + logvar * eps,
            "logvar is a logarithm: without exp it stretches ε by log σ²"),
     Mutant("square root of the logarithm", lambda mu, logvar, eps: mu + logvar / 2 * eps, "logvar/2 is log σ; exp is still to come"),
     Mutant("sign of logvar", lambda mu, logvar, eps: mu + (-logvar / 2).exp() * eps,
            "that stretches by 1/σ: the sign of logvar is turned"),
     Mutant("twice for half", lambda mu, logvar, eps: mu + (2 * logvar).exp() * eps,
            "σ is the root of σ² = exp(logvar): half of the logarithm, not twice"),
     Mutant("minus", lambda mu, logvar, eps: mu - (logvar / 2).exp() * eps,
            "draws of the right distribution, but z = μ + σε is asked for, with plus"),
     Mutant("no noise", lambda mu, logvar, eps: mu + (logvar / 2).exp() + 0 * eps, "where is ε? This returns μ + σ for every draw"),
     Mutant("mean alone", lambda mu, logvar, eps: mu + 0 * eps, "that is μ alone; σε is missing"),
     Mutant("noise first", lambda mu, logvar, eps: (mu + eps) * (logvar / 2).exp(), "μ is stretched too; stretch ε first, then add μ"),
     Mutant("detached", lambda mu, logvar, eps: (mu + (logvar / 2).exp() * eps).detach(), FLOW)],
    properties=[("gradients flow", _gradients_flow, FLOW)])


# ---- costs for 7.2, 7.3 and 7.5 -----------------------------------------------------------------------------------------
def _square(z):
    return z * z


def _sine(z):
    return np.sin(3 * z)


def _step(z):
    return np.where(np.asarray(z) > 0, 1.0, 0.0)


def _square_slope(z):
    return 2 * np.asarray(z)


def _sine_slope(z):
    return 3 * np.cos(3 * np.asarray(z))


EPS = np.array([-1.0, 0.0, 1.0, 2.0])
MORE = np.array([0.31, -0.84, 1.72, -0.13, 0.56])


# ---- 7.2 -------------------------------------------------------------------------------------------------------------
def _by_difference(df, mu, sigma, eps, h=1e-5):
    """Finite differences of the mean cost with frozen noise."""
    f = {_square_slope: _square, _sine_slope: _sine}[df]

    def mean(m, log_s):
        return np.mean(f(m + np.exp(log_s) * eps))

    t = np.log(sigma)
    return (mean(mu + h, t) - mean(mu - h, t)) / (2 * h), (mean(mu, t + h) - mean(mu, t - h)) / (2 * h)


def _path(df, mu, sigma, eps, rail):
    slope = df(mu + sigma * eps)
    return np.mean(slope), np.mean(slope * rail)


pathwise_grad = Check(
    "pathwise_grad", _by_difference,
    [(_square_slope, 1.0, 1.0, EPS), (_square_slope, 0.5, 0.4, EPS), (_sine_slope, -0.3, 1.7, MORE)],
    [Mutant("sigma for log sigma", lambda df, mu, sigma, eps: _path(df, mu, sigma, eps, eps),
            "the second one is d/dσ; for log σ the rail is ∂z/∂log σ = σ ∂z/∂σ"),
     Mutant("variance for log sigma", lambda df, mu, sigma, eps: _path(df, mu, sigma, eps, eps / (2 * sigma)),
            "the second one is the derivative by σ², a variance; asked for is log σ"),
     Mutant("log variance for log sigma", lambda df, mu, sigma, eps: _path(df, mu, sigma, eps, sigma * eps / 2),
            "the second one is half of what is asked: that is d/dlog σ², not d/dlog σ"),
     Mutant("noise forgotten", lambda df, mu, sigma, eps: _path(df, mu, sigma, eps, sigma + 0 * eps),
            "each particle has its own rail: ∂z/∂log σ contains its ε"),
     Mutant("z for its rail", lambda df, mu, sigma, eps: _path(df, mu, sigma, eps, mu + sigma * eps),
            "∂z/∂log σ is σε, without μ: a draw at the mean stays where it is"),
     Mutant("times the score", lambda df, mu, sigma, eps: (
        np.mean(df(mu + sigma * eps) * eps / sigma), np.mean(df(mu + sigma * eps) * (eps**2 - 1))),
            "f′ is multiplied with the score: that mixes the two estimators; the pathwise one multiplies with the rail ∂z/∂φ"),
     Mutant("slope at the mean", lambda df, mu, sigma, eps: (df(mu + 0.0), np.mean(df(mu + 0.0) * sigma * eps)),
            "f′ belongs at each draw z = μ + σε, not at μ"),
     Mutant("slope at the noise", lambda df, mu, sigma, eps: (np.mean(df(eps)), np.mean(df(eps) * sigma * eps)),
            "f′ belongs at z = μ + σε, not at ε"),
     Mutant("variance for standard deviation", lambda df, mu, sigma, eps: (
        np.mean(df(mu + sigma**2 * eps)), np.mean(df(mu + sigma**2 * eps) * sigma**2 * eps)),
            "σ is a standard deviation: z = μ + σε, without a square"),
     Mutant("sum for mean", lambda df, mu, sigma, eps: tuple(len(eps) * np.array(_path(df, mu, sigma, eps, sigma * eps))), SUM),
     Mutant("wrong order", lambda df, mu, sigma, eps: _path(df, mu, sigma, eps, sigma * eps)[::-1],
            "the order is d/dμ first, then d/dlog σ")])


# ---- 7.3 -------------------------------------------------------------------------------------------------------------
def _by_surrogate(f, mu, sigma, eps):
    """The gradient by torch of mean f(z) log q(z), with the draws held fixed."""
    m, log_s = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (mu, np.log(sigma)))
    z = mu + sigma * eps
    log_q = torch.distributions.Normal(m, log_s.exp()).log_prob(torch.as_tensor(z))
    grads = torch.autograd.grad((torch.as_tensor(np.asarray(f(z), float)) * log_q).mean(), (m, log_s))
    return tuple(g.item() for g in grads)


def _score(f, mu, sigma, eps, s1=None, s2=None):
    cost = f(mu + sigma * eps)
    return np.mean(cost * (eps / sigma if s1 is None else s1)), np.mean(cost * (eps**2 - 1 if s2 is None else s2))


score_grad = Check(
    "score_grad", _by_surrogate,
    [(_square, 1.0, 1.0, EPS), (_square, 0.5, 0.4, EPS), (_step, 0.2, 1.7, MORE), (_sine, -0.3, 0.6, MORE)],
    [Mutant("forgot to divide by sigma", lambda f, mu, sigma, eps: _score(f, mu, sigma, eps, s1=eps),
            "the score of μ is (z − μ)/σ², and z − μ = σε leaves ε/σ; yours is ε"),
     Mutant("sigma for z minus mu", lambda f, mu, sigma, eps: _score(f, mu, sigma, eps, s1=eps / sigma**2),
            "z − μ is σε, not ε: one σ of the σ² below cancels"),
     Mutant("z for z minus mu", lambda f, mu, sigma, eps: _score(f, mu, sigma, eps, s1=(mu + sigma * eps) / sigma**2),
            "the score of μ has z − μ above, not z"),
     Mutant("lost the -1", lambda f, mu, sigma, eps: _score(f, mu, sigma, eps, s2=eps**2),
            "the second score must average to zero; −log σ in log q contributes −1"),
     Mutant("sigma for log sigma", lambda f, mu, sigma, eps: _score(f, mu, sigma, eps, s2=(eps**2 - 1) / sigma),
            "the second one is d/dσ; by log σ it is σ times that"),
     Mutant("log variance for log sigma", lambda f, mu, sigma, eps: _score(f, mu, sigma, eps, s2=(eps**2 - 1) / 2),
            "the second one is half of what is asked: that is d/dlog σ², not d/dlog σ"),
     Mutant("variance for log sigma", lambda f, mu, sigma, eps: _score(f, mu, sigma, eps, s2=(eps**2 - 1) / (2 * sigma**2)),
            "the second one is the derivative by σ², a variance; asked for is log σ"),
     Mutant("sign", lambda f, mu, sigma, eps: tuple(-np.array(_score(f, mu, sigma, eps))),
            "both signs are turned: log q falls with (z − μ)², so its derivative by μ has the sign of z − μ"),
     Mutant("no cost", lambda f, mu, sigma, eps: (np.mean(eps / sigma), np.mean(eps**2 - 1)),
            "that is the mean score; each draw's score is weighted with its cost"),
     Mutant("product of means", lambda f, mu, sigma, eps: tuple(
        np.mean(f(mu + sigma * eps)) * np.array([np.mean(eps / sigma), np.mean(eps**2 - 1)])),
            "multiply cost and score draw by draw, and average then; the product of their means is 0 in the long run"),
     Mutant("density for its logarithm", lambda f, mu, sigma, eps: _score(
        f, mu, sigma, eps, s1=eps / sigma * norm.pdf(eps) / sigma, s2=(eps**2 - 1) * norm.pdf(eps) / sigma),
            "that weights with ∇q, but the draws already come from q: use ∇log q = ∇q / q"),
     Mutant("sum for mean", lambda f, mu, sigma, eps: tuple(len(eps) * np.array(_score(f, mu, sigma, eps))), SUM)])


# ---- 7.4 -------------------------------------------------------------------------------------------------------------
def _by_least_squares(f, score):
    """b with the smallest |f s - b s|², as a regression of f s on s."""
    f, score = np.asarray(f, float), np.asarray(score, float)
    return np.linalg.lstsq(score[:, None], f * score, rcond=None)[0][0]


QUANTILES = norm.ppf((np.arange(2000) + 0.5) / 2000)

optimal_baseline = Check(
    "optimal_baseline", _by_least_squares,
    [((1 + QUANTILES)**2, QUANTILES), ((1 + EPS)**2, EPS), (np.sin(MORE), MORE / 0.4 + 0.3),
     (np.array([1.0, 2.0, 7.0]), np.array([2.0, -1.0, 0.5]))],
    [Mutant("mean cost", lambda f, score: np.mean(f),
            "that is the mean cost E[f]: a good baseline, but draws with a large score matter more"),
     Mutant("score not squared", lambda f, score: np.mean(f * score) / np.mean(score**2),
            "the cost is weighted by the score; the variance contains (f − b)² s², so weight by s²"),
     Mutant("not divided", lambda f, score: np.mean(f * score**2), "E[f s²] is not yet a mean of f: the weights s² must be divided out"),
     Mutant("squared mean below", lambda f, score: np.mean(f * score**2) / np.mean(score)**2,
            "below, E[s²] is meant, the mean of the squares; yours squares the mean, which is near 0"),
     Mutant("absolute score", lambda f, score: np.mean(f * np.abs(score)) / np.mean(np.abs(score)),
            "nearly: the weights are s², yours are |s|"),
     Mutant("cost squared", lambda f, score: np.mean(f**2 * score**2) / np.mean(score**2),
            "f stands squared; in the derivative by b of (f − b)² it is f − b to the first power"),
     Mutant("factor two", lambda f, score: 2 * np.mean(f * score**2) / np.mean(score**2),
            "twice too large: the 2 of the derivative stands on both sides and cancels"),
     Mutant("sign", lambda f, score: -np.mean(f * score**2) / np.mean(score**2), "the sign is turned: b is taken off the cost, f − b"),
     Mutant("covariance of centred costs", lambda f, score: np.mean((f - np.mean(f)) * score**2) / np.mean(score**2),
            "you took the mean cost off before; b itself is asked for, not what is left beyond the mean")],
    rtol=1e-6)


# ---- 7.5 -------------------------------------------------------------------------------------------------------------
def _by_pairs(f, mu, sigma, eps):
    """The average over all ordered pairs of (f_i - f_j) times the score of draw i."""
    cost = np.asarray(f(mu + sigma * np.asarray(eps)), float)
    pairs = [(cost[i] - cost[j]) * eps[i] / sigma for i in range(len(eps)) for j in range(len(eps)) if i != j]
    return np.mean(pairs)


def _with_baseline(f, mu, sigma, eps, baseline):
    cost = f(mu + sigma * eps)
    return np.mean((cost - baseline(cost)) * eps / sigma)


rloo_grad = Check(
    "rloo_grad", _by_pairs, [(_square, 1.0, 1.0, EPS), (_square, 0.5, 0.4, MORE), (_step, -0.1, 1.7, MORE), (_sine, 0.3, 0.6, EPS[[0, 3]])],
    [Mutant("own cost included", lambda f, mu, sigma, eps: _with_baseline(f, mu, sigma, eps, np.mean),
            "too small by the factor (S − 1)/S: your baseline also contains the cost of the very draw that it judges"),
     Mutant("no baseline", lambda f, mu, sigma, eps: _with_baseline(f, mu, sigma, eps, lambda c: 0),
            "that is the plain score function: no baseline is taken off"),
     Mutant("divided by S", lambda f, mu, sigma, eps: _with_baseline(f, mu, sigma, eps, lambda c: (c.sum() - c) / len(c)),
            "the other draws are S − 1 in number; you divide their sum by S"),
     Mutant("sum of the others", lambda f, mu, sigma, eps: _with_baseline(f, mu, sigma, eps, lambda c: c.sum() - c),
            "the baseline is the sum of the others' costs; their mean is meant"),
     Mutant("baseline added", lambda f, mu, sigma, eps: _with_baseline(f, mu, sigma, eps, lambda c: -(c.sum() - c) / (len(c) - 1)),
            "the baseline is added to the cost; take it off"),
     Mutant("turned round", lambda f, mu, sigma, eps: -_by_pairs(f, mu, sigma, eps),
            "the sign is turned: cost minus baseline, not baseline minus cost"),
     Mutant("forgot to divide by sigma", lambda f, mu, sigma, eps: sigma * _by_pairs(f, mu, sigma, eps),
            "a factor σ too much: the score of μ is (z − μ)/σ² = ε/σ"),
     Mutant("divided by S minus 1 outside", lambda f, mu, sigma, eps: _by_pairs(f, mu, sigma, eps) * len(eps) / (len(eps) - 1),
            "the outer average is over all S draws; the S − 1 belongs into the baseline only"),
     Mutant("baseline of the shifted draw", lambda f, mu, sigma, eps: _with_baseline(f, mu, sigma, eps, lambda c: np.roll(c, 1)),
            "your baseline is the cost of one other draw: unbiased, but noisier; take the mean of all S − 1 others"),
     Mutant("sum for mean", lambda f, mu, sigma, eps: len(eps) * _by_pairs(f, mu, sigma, eps), SUM)])


# ---- 7.6 -------------------------------------------------------------------------------------------------------------
def _bell(z):
    return -z**2 / 2


def _quartic(z):
    return -z**4 / 4 + z


_SLOPE = {_bell: lambda z: -z, _quartic: lambda z: -z**3 + 1}


def _stl_by_formula(log_p, mu, log_sigma, eps):
    """Mean over eps of d(log p - log q)/dz times the rail: q's own slope is -eps/sigma."""
    sigma = np.exp(log_sigma)
    slope = _SLOPE[log_p](mu + sigma * eps) + eps / sigma
    return np.mean(slope), np.mean(slope * sigma * eps)


def _elbo_grad(log_p, mu, log_sigma, eps, q_mu, q_log_sigma, q_z=lambda z: z):
    z = mu + log_sigma.exp() * eps
    log_q = torch.distributions.Normal(q_mu(mu), q_log_sigma(log_sigma).exp()).log_prob(q_z(z))
    return torch.autograd.grad((log_p(z) - log_q).mean(), (mu, log_sigma))


def _keep(a):
    return a


def _drop(a):
    return a.detach()


def _stl(*args):
    return _elbo_grad(*args, _drop, _drop)


def _only_score(log_p, mu, log_sigma, eps):
    z = (mu + log_sigma.exp() * eps).detach()
    log_q = torch.distributions.Normal(mu, log_sigma.exp()).log_prob(z)
    return torch.autograd.grad((log_p(z) - log_q).mean(), (mu, log_sigma))


def _log_p_only(log_p, mu, log_sigma, eps):
    return torch.autograd.grad(log_p(mu + log_sigma.exp() * eps).mean(), (mu, log_sigma))


def _log_sigma_as_sigma(log_p, mu, log_sigma, eps):
    z = mu + log_sigma * eps
    slope = 0.5 * ((z - mu.detach()) / log_sigma.detach())**2
    return torch.autograd.grad((log_p(z) + slope).mean(), (mu, log_sigma))


stl_grad = TorchCheck(
    "stl_grad", _stl_by_formula,
    [(_bell, 1.0, np.log(0.8), EPS), (_bell, 0.0, 0.0, MORE), (_quartic, 0.4, -0.5, MORE)],
    [Mutant("total derivative", lambda *a: _elbo_grad(*a, _keep, _keep),
            "that is the total derivative: the parameters inside log q still carry their gradient; detach μ and log σ there"),
     Mutant("only mu detached", lambda *a: _elbo_grad(*a, _drop, _keep), "μ is detached inside log q, log σ is not yet"),
     Mutant("only log sigma detached", lambda *a: _elbo_grad(*a, _keep, _drop), "log σ is detached inside log q, μ is not yet"),
     Mutant("draw detached", _only_score,
            "you detached the draw z everywhere; then no path is left. Detach the parameters inside log q, and let z move"),
     Mutant("log q detached whole", _log_p_only,
            "log q contributes nothing: z must keep its gradient inside log q, only the parameters of q lose theirs"),
     Mutant("draw detached in log q", lambda *a: _elbo_grad(*a, _keep, _keep, _drop),
            "just the wrong way round: inside log q you detached z and kept the parameters"),
     Mutant("loss for ELBO", lambda *a: tuple(-g for g in _stl(*a)),
            "the sign is turned: the ELBO is log p minus log q, and its own gradient is asked for, not that of a loss"),
     Mutant("sum for mean", lambda *a: tuple(len(a[3]) * g for g in _stl(*a)), SUM),
     Mutant("sigma for log sigma", lambda log_p, mu, log_sigma, eps: (
        _stl(log_p, mu, log_sigma, eps)[0], _stl(log_p, mu, log_sigma, eps)[1] / log_sigma.exp()),
            "the second one is d/dσ; asked for is d/dlog σ, so let log_sigma itself be what you differentiate by"),
     Mutant("log sigma for sigma", _log_sigma_as_sigma,
            "log_sigma is a logarithm: z = μ + exp(log σ) ε, and Normal takes σ as well")])


# ---- 7.7 -------------------------------------------------------------------------------------------------------------
def _gs(logits, g, tau, axis=-1):
    return softmax((np.asarray(logits, float) + g) / tau, axis=axis)


def _naive(logits, g, tau):
    a = np.exp((np.asarray(logits, float) + g) / tau)
    return a / a.sum(axis=-1, keepdims=True)


def _plain_shares(logits, g, tau):
    a = (np.asarray(logits, float) + g) / tau
    return a / a.sum(axis=-1, keepdims=True)


LOGITS, GUMBEL = np.array([0.0, 1.0, 2.0]), np.array([0.5, -0.5, 0.0])
ROWS = np.array([[0.2, -1.0, 0.7, 1.1], [2.0, 0.3, -0.4, 0.9]]), np.array([[1.3, 0.2, -0.3, -0.6], [-0.9, 0.8, 2.1, 0.1]])

gumbel_softmax = Check(
    "gumbel_softmax", _gs,
    [(LOGITS, GUMBEL, 1.0), (LOGITS, GUMBEL, 0.5), (*ROWS, 2.0), (10 * LOGITS, GUMBEL, 0.01),
     (np.log([0.3, 0.7]), np.array([2.0, -0.4]), 0.7)],
    [Mutant("only the logits are divided", lambda logits, g, tau: softmax(logits / tau + g, axis=-1),
            "only the logits are divided by τ; the noise is part of the sum that τ divides"),
     Mutant("only the noise is divided", lambda logits, g, tau: softmax(logits + g / tau, axis=-1),
            "only the noise is divided by τ; the logits are part of the sum that τ divides"),
     Mutant("times tau", lambda logits, g, tau: softmax((logits + g) * tau, axis=-1),
            "you multiply by τ; a low temperature must sharpen, so divide"),
     Mutant("no temperature", lambda logits, g, tau: softmax(logits + g, axis=-1), "τ has no effect in yours"),
     Mutant("no noise", lambda logits, g, tau: softmax(logits / tau, axis=-1),
            "without the noise g nothing is random: every draw would be the same"),
     Mutant("noise taken off", lambda logits, g, tau: softmax((logits - g) / tau, axis=-1),
            "the noise is added; Gumbel noise is not symmetric, so its sign matters"),
     Mutant("hard maximum", lambda logits, g, tau: np.eye(np.shape(logits)[-1])[np.argmax(logits + g, axis=-1)],
            "that is Gumbel-max, the hard draw; the softmax makes it smooth"),
     Mutant("overflow", _naive, "nan for a low temperature: exp leaves the computer's range; take the largest entry off first"),
     Mutant("whole array", lambda logits, g, tau: _gs(logits, g, tau, axis=None),
            "for rows of choices each row must add up to 1: work along the last axis"),
     Mutant("first axis", lambda logits, g, tau: _gs(logits, g, tau, axis=0),
            "the choices stand along the last axis, yours normalises along the first"),
     Mutant("logarithm", lambda logits, g, tau: log_softmax((logits + g) / tau, axis=-1), "that is the logarithm of the answer"),
     Mutant("exp forgotten", _plain_shares, "they add up to 1 but are not positive: softmax takes exp before it divides")])
