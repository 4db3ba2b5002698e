"""Marking of homework 07: rails for shares and waiting times, gradients for counts and switches, straight-through.

Torch is imported here, not inside the functions: its first import can take longer than a question may.
"""

import math

import numpy as np
import scipy.optimize
import scipy.stats
import torch
from scipy.special import expit, gammaln, softmax

from . import Code, Group, Marking, Mutant

RUBRIC = {"which_gradient": [
    (1, "(a) score function with a baseline (leave-one-out): needs only costs; risk: variance, which grows with dimensions and as σ "
     "shrinks"),
    (1, "(b) pathwise (reparameterised): differentiable decoder; risk: a detached draw or `sample` goes unnoticed, steep or fast costs "
     "are noisy; "
        "sticking the landing near the optimum is a bonus"),
    (1, "(c) straight-through or Gumbel-softmax, or score function with a baseline over 8 choices (or all 8 summed out); risk: bias, even "
     "of the sign, "
        "or variance; τ trades one for the other"),
    (1, "an experiment with numbers: against finite differences or full enumeration with common noise and an error bar (wrong: the "
     "difference "
        "stays beyond 3 standard errors as draws grow), and the spread over repetitions, falling like 1/√S (noisy)")]}

# Runs beside the student's function: makes tensors, and asks for the value or for the gradient by the first `n` arguments.
WRAP = """lambda f: lambda what, *args: (
    p := [torch.tensor(v, dtype=torch.float64, requires_grad=k < {n}) if isinstance(v, (float, np.ndarray)) else v
          for k, v in enumerate(args)],
    out := f(*p{cut}),
    out.detach().numpy() if what == "value" else np.stack([g.numpy() for g in torch.autograd.grad({score}, p[{first}:{n}])]))[-1]"""


def _f(rng, kinds):
    return Code(kinds[rng.integers(len(kinds))].format(*(round(float(v), 3) for v in rng.uniform(0.3, 1.5, 4))))


# ---- 1 ---------------------------------------------------------------------------------------------------------------
def _kuma_oracle(what, a, b, u):
    """A root search on the distribution function; the slopes by implicit differentiation of F(z, a, b) = u."""
    a, b, u = np.broadcast_arrays(a, b, u)
    z = np.empty(u.shape)
    for i in np.ndindex(u.shape):
        z[i] = scipy.optimize.brentq(lambda v: 1 - (1 - v**a[i])**b[i] - u[i], 0, 1, xtol=1e-15, rtol=1e-14)
    if what == "value":
        return z
    density = a * b * z**(a - 1) * (1 - z**a)**(b - 1)
    by_a, by_b = b * (1 - z**a)**(b - 1) * z**a * np.log(z), -(1 - z**a)**b * np.log(1 - z**a)
    return np.stack([-by_a / density, -by_b / density])


def _kuma_cases(rng):
    def case(*shape):
        return rng.uniform(0.6, 3.0, shape), rng.uniform(0.6, 3.0, shape), rng.uniform(0.1, 0.9, shape)
    row = (rng.uniform(0.6, 3.0, 3), rng.uniform(0.6, 3.0, 3), rng.uniform(0.1, 0.9, (4, 3)))
    few, more = case(5), case(2, 3)
    return [Group("the draws", [("value", *few), ("value", *more), ("value", *row)],
        "undo the steps of F one after the other, from the outside inwards"),
            Group("their gradients by a and b", [("slope", *few), ("slope", *more)],
                "everything between a, b and z must be torch, and nothing detached")]


def _kuma(a, b, u):
    return (1 - (1 - u)**(1 / b))**(1 / a)


kumaraswamy = Marking(
    "kumaraswamy", _kuma_oracle, _kuma_cases, wrap=WRAP.format(n=2, first=0, cut="", score="out.sum()"),
    mutants=[Mutant("distribution function", lambda a, b, u: 1 - (1 - u**a)**b, "that is F(u) itself; z is what F leads to u"),
             Mutant("powers not inverted", lambda a, b, u: (1 - (1 - u)**b)**a, "the powers are undone by roots: 1/b and 1/a"),
             Mutant("a and b exchanged", lambda a, b, u: _kuma(b, a, u),
                    "a and b are exchanged: b stands outside in F and is undone first"),
             Mutant("turned round", lambda a, b, u: (1 - u**(1 / b))**(1 / a),
                    "these are draws from the right distribution, but they fall with u: 1 − u belongs where you have u"),
             Mutant("inner one forgotten", lambda a, b, u: (1 - u)**(1 / (a * b)),
                    "after the root of 1 − u you still have 1 − z^a: take it from 1 once more"),
             Mutant("a forgotten", lambda a, b, u: 1 - (1 - u)**(1 / b) + 0 * a, "that is z^a, not yet z"),
             Mutant("detached", lambda a, b, u: _kuma(a.detach(), b.detach(), u),
                    "the draws are right, but no gradient reaches a and b: is there a detach, an item or a NumPy function on the way?"),
             Mutant("only a", lambda a, b, u: _kuma(a, b.detach(), u) + 0 * b,
                    "the draws are right and so is the gradient by a, but none reaches b")],
    variants=[lambda a, b, u: torch.exp(torch.log(-torch.expm1(torch.log1p(-u) / b)) / a), lambda a, b,
        u: torch.pow(1 - torch.pow(1 - u, b.reciprocal()), a.reciprocal())],
    partial={"detached": 0.5, "only a": 0.5})


# ---- 2 ---------------------------------------------------------------------------------------------------------------
COSTS = ["lambda z: (z - {0})**2", "lambda z: np.sqrt(z + {0}) * {1}", "lambda z: np.cos({0} * z) + {1} * z",
    "lambda z: (z > 1) * {0} + {1} / (1 + z)"]


def _counts_oracle(f, rate, z):
    """The score by a central difference of the log probability; the other as a sum over the draws."""
    h = 1e-4

    def log_p(v, r):
        return v * math.log(r) - r - gammaln(v + 1)
    score = [(log_p(v, rate + h) - log_p(v, rate - h)) / (2 * h) for v in z]
    return math.fsum(float(f(v)) * s for v, s in zip(z, score)) / len(z), math.fsum(float(f(v + 1)) - float(f(v)) for v in z) / len(z)


def _counts_cases(rng):
    def case(S, low, high):
        rate = rng.uniform(low, high)
        return _f(rng, COSTS), rate, np.concatenate([rng.poisson(rate, S - 2), rng.integers(1, 3, 1), [0]])
    return [Group("few draws, a low rate", [case(5, 0.6, 1.6), case(8, 0.6, 1.6)],
        "the score is the derivative of z log λ − λ; the difference compares z + 1 with z"),
            Group("more draws, a higher rate", [case(40, 2.5, 6.0), case(25, 2.5, 6.0)],
                "the score is the derivative of z log λ − λ; the difference compares z + 1 with z")]


def _counts(f, rate, z, score=None, difference=None, pool=np.mean):
    score = z / rate - 1 if score is None else score
    return pool(f(z) * score), pool(f(z + 1) - f(z) if difference is None else difference)


poisson_grads = Marking(
    "poisson_grads", _counts_oracle, _counts_cases,
    [Mutant("by the log rate", lambda f, r, z: _counts(f, r, z, z - r), "z − λ is the score by log λ; by λ itself it is z/λ − 1"),
     Mutant("score not centred", lambda f, r, z: _counts(f, r, z, z / r), "a score averages to 0; the −λ in log p(z) contributes −1"),
     Mutant("probability for its logarithm", lambda f, r, z: _counts(f, r, z, (z / r - 1) * scipy.stats.poisson.pmf(z, r)),
            "the draws already come from p(z): weight with the derivative of log p, not of p"),
     Mutant("no cost", lambda f, r, z: (np.mean(z / r - 1), _counts(f, r, z)[1]),
            "that is the mean score; each draw's score is weighted with its cost"),
     Mutant("product of means", lambda f, r, z: (np.mean(f(z)) * np.mean(z / r - 1), _counts(f, r, z)[1]),
            "multiply cost and score draw by draw, and average then"),
     Mutant("backward difference", lambda f, r, z: _counts(f, r, z, difference=f(z) - f(z - 1)),
            "after shifting the index p(z) stands beside f(z + 1) − f(z); yours looks at one count less"),
     Mutant("sign of the difference", lambda f, r, z: _counts(f, r, z, difference=f(z) - f(z + 1)),
            "the sign of the difference is turned: what would one more count cost?"),
     Mutant("difference divided by the rate", lambda f, r, z: _counts(f, r, z, difference=(f(z + 1) - f(z)) / r),
            "no rate is left in the difference: the derivative of p(z) is p(z − 1) − p(z)"),
     Mutant("sum for mean", lambda f, r, z: _counts(f, r, z, pool=np.sum), "averages over the draws are asked for; yours are sums"),
     Mutant("exchanged", lambda f, r, z: _counts(f, r, z)[::-1], "the order is score function first, then difference")],
    variants=[lambda f, r, z: [sum(f(v) * (v - r) for v in z) / r / len(z), sum(f(v + 1) - f(v) for v in z) / len(z)]], rtol=1e-5,
        atol=1e-7)


# ---- 3 ---------------------------------------------------------------------------------------------------------------
PANELS = ["lambda b: (b.sum(axis=-1) - {0})**2", "lambda b: b[..., 0] * {0} + np.exp(-{1} * b.sum(axis=-1))",
          "lambda b: np.abs(b.mean(axis=-1) - {0}) + {1} * b[..., -1]"]


def _switch_oracle(f, logits, bits):
    """The average over all ordered pairs of (f_i − f_j) times the score of panel i; the score by differences of log p."""
    cost, h = np.asarray(f(bits), float), 1e-5

    def log_p(ell):
        return np.where(bits == 1, -np.logaddexp(0, -ell), -np.logaddexp(0, ell))
    score = (log_p(logits + h) - log_p(logits - h)) / (2 * h)
    return np.mean([(cost[i] - cost[j]) * score[i] for i in range(len(bits)) for j in range(len(bits)) if i != j], axis=0)


def _switch_cases(rng):
    def case(S, D):
        while True:
            bits = rng.integers(2, size=(S, D))
            if len({tuple(b) for b in bits.tolist()}) > 1 and not (bits == bits[:1]).all(axis=0).any():
                return _f(rng, PANELS), rng.normal(0, 1, D), bits
    return [Group("two panels", [case(2, 1), case(2, 2)], "with two panels each is the baseline of the other"),
            Group("many panels", [case(5, 3), case(9, 2), case(20, 4)],
                "the score of a switch by its logit is short: differentiate b log p + (1 − b) log(1 − p)")]


def _switch(f, logits, bits, score=None, baseline=lambda c: (c.sum() - c) / (len(c) - 1), pool=np.mean):
    cost, p = np.asarray(f(bits), float), expit(logits)
    return pool((cost - baseline(cost))[:, None] * (bits - p if score is None else score(bits, p)), axis=0)


switch_grads = Marking(
    "switch_grads", _switch_oracle, _switch_cases,
    [Mutant("own cost included", lambda *a: _switch(*a, baseline=np.mean),
            "too small by the factor (S − 1)/S: your baseline contains the cost of the panel that it judges"),
     Mutant("no baseline", lambda *a: _switch(*a, baseline=lambda c: 0), "that is the plain score function: no baseline is taken off"),
     Mutant("others divided by S", lambda *a: _switch(*a, baseline=lambda c: (c.sum() - c) / len(c)),
            "the other panels are S − 1 in number; you divide their sum by S"),
     Mutant("sum of the others", lambda *a: _switch(*a, baseline=lambda c: c.sum() - c + (c if len(c) == 2 else 0)),
            "the baseline is the mean cost of the others; yours is a sum"),
     Mutant("by the probability", lambda *a: _switch(*a, score=lambda b, p: (b - p) / (p * (1 - p))),
            "that is the gradient by p; by the logit it is p(1 − p) times that"),
     Mutant("ones only", lambda *a: _switch(*a, score=lambda b, p: b * (1 - p)), "a switch that is off has a score as well"),
     Mutant("sign", lambda *a: -_switch(*a), "the sign is turned: log p of a switch that is on rises with its logit"),
     Mutant("sum for mean", lambda *a: _switch(*a, pool=np.sum), "an average over the panels is asked for; yours is a sum")],
    # with this baseline the weights of the panels sum to 0, so that a score which forgets its −p gives the very same estimate
    variants=[lambda *a: _switch(*a, score=lambda b, p: b),
              lambda f, logits, bits: np.array([np.cov(f(bits), column)[0, 1] for column in bits.T])],
    rtol=1e-5, atol=1e-7)


# ---- 4 ---------------------------------------------------------------------------------------------------------------
JOINTS = ["lambda z: {0} * torch.log(z) - {1} * z", "lambda z: -{0} * (z - {1})**2 - {2}",
    "lambda z: torch.log1p(z) * {0} - z * {1} + torch.sin(z)"]


def _elbo_oracle(what, log_joint, rho, u):
    """Average over the draws plus scipy's entropy; the gradient by a central difference."""
    def value(r):
        z = scipy.stats.expon.ppf(1 - u, scale=math.exp(-r))
        return float(np.mean(log_joint(torch.as_tensor(z)).numpy())) + float(scipy.stats.expon(scale=math.exp(-r)).entropy())
    h = 1e-5
    return value(rho) if what == "value" else np.array([(value(rho + h) - value(rho - h)) / (2 * h)])


def _elbo_cases(rng):
    cases = [(_f(rng, JOINTS), float(rng.uniform(-0.8, 1.0)), rng.uniform(0.05, 0.95, n)) for n in (1, 4, 12)]
    return [Group("the value", [("value", *c) for c in cases], "mean of log p(x, z) over the draws, plus E[−log q(z)] in closed form"),
            Group("the gradient by ρ", [("slope", *c) for c in cases], "ρ enters twice: through every draw, and through the entropy")]


def _elbo(log_joint, rho, u, z=None, entropy=lambda rho: 1 - rho, pool=torch.mean):
    z = -torch.log(u) / rho.exp() if z is None else z
    return pool(log_joint(z)) + entropy(rho)


exponential_elbo = Marking(
    "exponential_elbo", _elbo_oracle, _elbo_cases, wrap=WRAP.format(n=2, first=1, cut="", score="out"),
    mutants=[Mutant("detached draws", lambda lj, r, u: _elbo(lj, r, u, (-torch.log(u) / r.exp()).detach()),
                    "the value is right, but the draws have forgotten ρ: only the entropy's part of the gradient arrives"),
             Mutant("forgot the entropy", lambda lj, r, u: _elbo(lj, r, u, entropy=lambda r: 0.0),
                    "the entropy is missing: the best q would be a spike"),
             Mutant("entropy subtracted", lambda lj, r, u: _elbo(lj, r, u, entropy=lambda r: r - 1),
                    "the entropy is added: it rewards a q that is undecided"),
             Mutant("entropy without its one", lambda lj, r, u: _elbo(lj, r, u, entropy=lambda r: -r),
                    "the gradient is right, but the entropy lacks E[λz]: is −log q(z) complete?"),
             Mutant("entropy from draws", lambda lj, r, u: _elbo(lj, r, u, entropy=lambda r: -r - torch.log(u).mean()),
                    "the gradient is right, but the entropy is estimated from the draws; in closed form it has no noise"),
             Mutant("entropy grows with the rate", lambda lj, r, u: _elbo(lj, r, u, entropy=lambda r: 1 + r),
                    "a high rate means short waiting times and less entropy: the sign of ρ is turned"),
             Mutant("detached entropy", lambda lj, r, u: _elbo(lj, r, u, entropy=lambda r: 1 - r.detach()),
                    "the value is right, but the entropy has forgotten ρ: its part of the gradient is missing"),
             Mutant("mean for rate", lambda lj, r, u: _elbo(lj, r, u, -torch.log(u) * r.exp()),
                    "λ is a rate: the higher it is, the shorter the waiting time. Divide"),
             Mutant("log rate for rate", lambda lj, r, u: _elbo(lj, r, u, -torch.log(u) / r), "ρ is the logarithm of the rate: λ = e^ρ"),
             Mutant("sum over the draws", lambda lj, r,
                    u: torch.sum(lj(-torch.log(u) / r.exp())) + (1 - r) * len(u) + (0 if len(u) > 1 else 1e-3),
                    "an average over the draws is asked for; yours is a sum")],
    variants=[lambda lj, r, u: lj(torch.exp(-r) * torch.log(1 / u)).sum() / len(u) + torch.distributions.Exponential(r.exp()).entropy()],
    partial={"detached draws": 0.5, "entropy without its one": 0.5, "entropy from draws": 0.5,
        "detached entropy": 0.5}, rtol=1e-5, atol=1e-7)


# ---- 5 ---------------------------------------------------------------------------------------------------------------
def _through_oracle(what, logits, g, tau, w):
    """The one-hot rows by a comparison with the row's largest entry; the gradient of w · out by the softmax's own Jacobian."""
    total = logits + g
    if what == "value":
        return (total == total.max(axis=-1, keepdims=True)).astype(float)
    s = softmax(total / tau, axis=-1)
    return (s * (w - (s * w).sum(axis=-1, keepdims=True)) / tau)[None]


def _through_cases(rng):
    def case(*shape):
        while True:
            logits, g, tau = rng.normal(0, 1.5, shape), rng.gumbel(size=shape), float(rng.uniform(0.4, 0.7))
            winners = [(a.argmax(axis=-1) == (logits + g).argmax(axis=-1)).all() for a in (logits, logits / tau + g)]
            if not any(winners):                              # so that forgotten noise or a misplaced τ shows in the choice
                return logits, g, tau, rng.normal(0, 1, shape)
    cases = [case(4), case(5, 3), case(2, 4, 3)]
    return [Group("the hard choice", [("value", *c) for c in cases], "going forward only the 0 and 1 of the winner must be left"),
            Group("the soft gradient", [("slope", *c) for c in cases], "going backward the gradient is that of softmax((logits + g)/τ)")]


def _parts(logits, g, tau):
    soft = torch.softmax((logits + g) / tau, dim=-1)
    return soft, torch.nn.functional.one_hot((logits + g).argmax(dim=-1), logits.shape[-1]).to(soft.dtype)


def _through(logits, g, tau):
    soft, hard = _parts(logits, g, tau)
    return hard + (soft - soft.detach())


def _logits_only(logits, g, tau):
    soft = torch.softmax(logits / tau + g, dim=-1)
    return torch.nn.functional.one_hot(soft.argmax(dim=-1), logits.shape[-1]) + soft - soft.detach()


def _scatter(logits, g, tau):
    soft = torch.softmax((logits + g) / tau, dim=-1)
    hard = torch.zeros_like(soft).scatter_(-1, soft.argmax(dim=-1, keepdim=True), 1.0)
    return (hard - soft).detach() + soft


straight_through = Marking(
    "straight_through", _through_oracle, _through_cases, wrap=WRAP.format(n=1, first=0, cut="[:3]", score="(out * p[3]).sum()"),
    mutants=[Mutant("soft", lambda *a: _parts(*a)[0],
        "the gradient is right, but the output is the softmax itself: going forward it must be hard"),
             Mutant("hard only", lambda *a: _parts(*a)[1], "the choice is right, but nothing carries a gradient: argmax is flat"),
             Mutant("wrong one detached", lambda *a: _parts(*a)[1] + _parts(*a)[0].detach() - _parts(*a)[0],
                    "the choice is right, but the gradient has the wrong sign: the other softmax is to be detached"),
             Mutant("nothing taken off", lambda *a: _parts(*a)[1] + _parts(*a)[0],
                    "the gradient is right, but the output is hard plus soft: take the detached softmax off again"),
             Mutant("no temperature", lambda logits, g, tau: _through(logits, g, 1.0),
                    "the choice is right, but τ has no effect on your gradient"),
             Mutant("times tau", lambda logits, g, tau: _through(logits, g, 1 / tau),
                    "the choice is right, but a low temperature must sharpen: divide by τ"),
             Mutant("temperature only on the logits", _logits_only,
                    "only the logits are divided by τ; the noise is part of the sum that τ divides"),
             Mutant("noise forgotten", lambda logits, g, tau: _through(logits, 0 * g, tau),
                    "without the noise g the router always makes the same choice"),
             Mutant("gradient of the noisy logits", lambda logits, g,
                    tau: _parts(logits, g, tau)[1] + (logits + g) / tau - ((logits + g) / tau).detach(),
                    "the choice is right, but the gradient skips the softmax: raising one logit must lower the other shares")],
    variants=[_scatter], partial={"soft": 0.5, "hard only": 0.5, "wrong one detached": 0.5, "nothing taken off": 0.5,
        "no temperature": 0.5, "times tau": 0.5,
                                  "gradient of the noisy logits": 0.5})
