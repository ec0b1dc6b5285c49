# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     notebook_metadata_filter: -jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Reparameterization: let the gradient pass through the sample
#
# A policy gradient differentiates an expectation by the parameters of the distribution that the expectation is taken
# over. There are two ways, both unbiased, and one of them needs twenty times as many samples. First the smallest
# example there is, then SAC's actor.
#
# Every equation stands beside polyak's own function, which is called and checked. Equation numbers are those of the
# chapter "Combining policy gradient and Q-learning".
#
# It needs `pip install "polyak[box2d,notebooks]"`, or `make notebooks` in a checkout, and `helpers.py` beside it.

# %% tags=["parameters"]
BACKEND = "jax"  # or "torch", "tensorflow"
LESSON = {"samples": (10, 100, 1_000, 10_000), "repeats": 5_000}  # two seconds; the chapter: to 100_000, and 10_000
DRAWS = 500  # gradients of the actor for each sigma

# %%
import importlib
import math

import helpers
import matplotlib.pyplot as plt
import numpy as np

from polyak.lessons import reparameterization

sac = importlib.import_module(f"polyak.algorithms.sac.with_{BACKEND}")
common = importlib.import_module(f"polyak.frameworks.{BACKEND}.parts")

# %% [markdown]
# ## Two estimators
#
# $x \sim \mathcal N(\theta, 1)$ and $J(\theta) = \mathbb E[x^2] = \theta^2 + 1$, so that $\nabla J(\theta) = 2
# \theta$. The **score function** moves the derivative to the density and needs nothing but values of $x^2$:
#
# $$\nabla J(\theta) = \mathbb E\big[ x^2\, \nabla_\theta \log p_\theta(x) \big] \approx \frac 1 N \sum_{i=1}^N (x_i -
# \theta)\, x_i^2 \tag{8.14}$$
#
# The **pathwise** estimator writes $x = \theta + \varepsilon$, $\varepsilon \sim \mathcal N(0, 1)$, so that the
# randomness no longer depends on $\theta$, and differentiates inside:
#
# $$\nabla J(\theta) = \mathbb E\big[ \nabla_\theta (\theta + \varepsilon)^2 \big] \approx \frac 1 N \sum_{i=1}^N 2\,
# (\theta + \varepsilon_i) \tag{8.15}$$

# %%
helpers.code(reparameterization.score_function_terms, reparameterization.pathwise_terms)

# %%
theta, eps = 2.0, np.random.default_rng(0).standard_normal(5)
x = theta + eps
helpers.compare(reparameterization.score_function_terms(theta, eps), (x - theta) * x**2)
helpers.compare(reparameterization.pathwise_terms(theta, eps), 2 * x)

# %% [markdown]
# Both means are 4. Their variances are $(\theta^4 + 14\, \theta^2 + 15) / N$ and $4 / N$, which is $87 / N$ and $4 /
# N$ at $\theta = 2$: a ratio of 21.75.

# %%
helpers.code(
    reparameterization.score_function_variance, reparameterization.pathwise_variance, reparameterization.variance_ratio
)

# %% [markdown]
# These are moments of polynomials of a normal variable, and Gauss and Hermite's rule is exact for such:

# %%
nodes, weights = np.polynomial.hermite_e.hermegauss(8)
weights = weights / weights.sum()
for terms, variance in (
    (reparameterization.score_function_terms(theta, nodes), reparameterization.score_function_variance(theta)),
    (reparameterization.pathwise_terms(theta, nodes), reparameterization.pathwise_variance()),
):
    helpers.compare(weights @ terms, reparameterization.gradient(theta))
    helpers.compare(weights @ (terms - 4) ** 2, variance)

# %% [markdown]
# ## The experiment
#
# Each estimate is repeated for each $N$. "Off by" counts standard errors of the measured number; beyond two there is a
# star, as about one number in twenty is by chance.

# %%
result = reparameterization.run(**LESSON)
helpers.tables(reparameterization.tables(result))

# %%
ns = np.array([row.samples for row in result.rows])
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
for shift, color, name, measured in (
    (0.93, "C1", "score function", [row.score_mean for row in result.rows]),
    (1.07, "C0", "pathwise", [row.pathwise_mean for row in result.rows]),
):
    spread = [each.standard_error * math.sqrt(result.repeats) for each in measured]
    left.errorbar(ns * shift, [each.value for each in measured], spread, fmt="o", color=color, capsize=3, label=name)
left.axhline(reparameterization.gradient(result.theta), color="gray", linewidth=1)
left.set(xscale="log", xlabel="N, samples of an estimate", ylabel="estimate", title="mean, and one standard deviation")
right.plot(ns, reparameterization.score_function_variance(result.theta, ns), "C1:", label="score function, exact")
right.plot(ns, reparameterization.pathwise_variance(ns), "C0:", label="pathwise, exact")
right.plot(ns, [row.score_variance.value for row in result.rows], "C1o", label="score function")
right.plot(ns, [row.pathwise_variance.value for row in result.rows], "C0o", label="pathwise")
right.set(xscale="log", yscale="log", xlabel="N, samples of an estimate", title="variance of an estimate")
left.legend()
right.legend()
plt.show()

# %% [markdown]
# ## A policy
#
# SAC draws its action, before the $\tanh$, as
#
# $$a = \mu_\theta(s) + \sigma_\theta(s)\, \varepsilon, \qquad \varepsilon \sim \mathcal N(0, I), \tag{8.16}$$
#
# so that the gradient passes through the sample into the critic:
#
# $$\nabla_\theta\, \mathbb E_{a \sim \pi_\theta} \big[ Q(s, a) \big] = \mathbb E_\varepsilon \big[ \nabla_a Q(s, a)\,
# \big( \nabla_\theta \mu_\theta(s) + \varepsilon\, \nabla_\theta \sigma_\theta(s) \big) \big] \tag{8.17}$$
#
# The noise is an argument of the function: it is drawn outside, by NumPy.

# %%
helpers.code(sac.sample_action)

# %%
example = helpers.example("sac", "Pendulum-v1", BACKEND)
state, batch = example.state, example.batch
s, xi = example.data.observation, example.noise_data["action"]
mean, log_sigma = np.split(helpers.forward(example.part("actor"), s), 2, axis=-1)
action, _ = sac.sample_action(state.actor.parameters, batch.observation, example.noise["action"])
helpers.compare(action, np.tanh(mean + np.exp(log_sigma) * xi))

# %% [markdown]
# ## Both estimators of the actor's gradient
#
# What SAC's actor descends, the pathwise way:

# %%
helpers.code(sac.actor_loss)

# %% [markdown]
# The same objective $v = \min_i Q_i(s, a) - \alpha \log \pi(a \mid s)$ by the score function needs its values alone.
# In the actor's two last biases, that of $\mu$ and that of $\ln \sigma$, the gradient of $\log \mathcal N(u; \mu,
# \sigma)$ is $\varepsilon / \sigma$ and $\varepsilon^2 - 1$; the $\tanh$ adds nothing, since it does not depend on
# $\theta$. A **baseline**, here the mean value of the other draws in that state, takes away what does not depend on
# the action. For each of several $\sigma$, the gradient of one batch of 64 states is drawn many times, one sample a
# state, in all three ways.

# %%
gradient = helpers.gradient_of(sac.actor_loss, BACKEND)
critics = state.critic_1.parameters, state.critic_2.parameters
q_of = helpers.partial(sac.minimum, critics, BACKEND)
alpha = helpers.tensors(np.exp(example.arrays["log_alpha"]), BACKEND)


def actor_with(sigma):
    """The actor with this sigma in every state."""
    arrays = example.part("actor")
    arrays["2/kernel"][:, 1], arrays["2/bias"][1] = 0, np.log(sigma)
    return helpers.weights(arrays, state.actor.parameters, BACKEND)


def value_of(actor, noise):
    """v [D, B] for noise [D, B, 1]: polyak's functions on all draws at once."""
    states = helpers.tensors(np.tile(s, (len(noise), 1)), BACKEND)
    action, log_pi = sac.sample_action(actor, states, helpers.tensors(noise.reshape(-1, 1), BACKEND))
    q = np.asarray(q_of(states, action))
    return (q - np.asarray(alpha) * np.asarray(log_pi)).reshape(noise.shape[:2])


def estimates(sigma, draws):
    """Gradients of the objective in the last biases, by each way: [D, 2]."""
    noise = np.random.default_rng(1).standard_normal((draws, len(s), 1), dtype=np.float32)
    actor = actor_with(sigma)
    arguments = [(actor, q_of, alpha, batch.observation, helpers.tensors(each, BACKEND)) for each in noise]
    path = np.array([-np.asarray(gradient(*each).arrays["2"]["bias"]) for each in arguments])
    value = value_of(actor, noise)
    baseline = (value.sum(axis=0) - value) / (draws - 1)
    score = np.concatenate([noise / sigma, noise**2 - 1], axis=-1)  # [D, B, 2]
    return {
        "score function": (value[..., None] * score).mean(axis=1),
        "score function, baseline": ((value - baseline)[..., None] * score).mean(axis=1),
        "pathwise": path,
    }


sigmas = (0.03, 0.1, 0.3, 1.0)
found = {sigma: estimates(sigma, DRAWS) for sigma in sigmas}
for sigma, ways in found.items():
    print(f"sigma = {sigma}")
    for name, each in ways.items():
        error = each.std(axis=0, ddof=1) / math.sqrt(DRAWS)
        numbers = "   ".join(f"{m:9.4f} +- {e:.4f}" for m, e in zip(each.mean(axis=0), error, strict=True))
        print(f"  {name:<26} by mu and by ln sigma: {numbers}")

# %% [markdown]
# The three agree within their errors: the score function and the path are estimators of one gradient.

# %%
for ways in found.values():
    path = ways["pathwise"]
    for name in ("score function", "score function, baseline"):
        difference = (ways[name] - path).mean(axis=0)
        error = np.hypot(ways[name].std(axis=0, ddof=1), path.std(axis=0, ddof=1)) / math.sqrt(DRAWS)
        print(name, "is off by", np.round(difference / error, 1), "standard errors")
        if not np.all(np.abs(difference) < 5 * error):
            raise ValueError("they estimate different things")

# %% [markdown]
# Their variances are another matter.

# %%
for name, color in (("score function", "C1"), ("score function, baseline", "C2"), ("pathwise", "C0")):
    plt.plot(sigmas, [found[sigma][name][:, 0].var(ddof=1) for sigma in sigmas], "o-", color=color, label=name)
plt.xscale("log")
plt.yscale("log")
plt.xlabel("sigma of the policy")
plt.ylabel("variance of the gradient by mu")
plt.legend()
plt.show()
for sigma in sigmas:
    score, baseline, path = (each[:, 0].var(ddof=1) for each in found[sigma].values())
    print(f"sigma = {sigma}: {score / path:,.0f} times the variance, {baseline / path:,.1f} times with the baseline")

# %% [markdown]
# As the policy grows certain, the score function's variance grows like $1 / \sigma^2$, with a baseline and without,
# and the path's vanishes: what remains is DDPG's deterministic gradient. With a wide policy the score function and its
# baseline may win, as they do here at $\sigma = 1$: no theorem says that the path is always better. But policies
# narrow as they learn. The exact formulas for $Q = a^2$, without a baseline, say the same:

# %%
helpers.code(reparameterization.policy_score_function_variance, reparameterization.policy_pathwise_variance)

# %%
fine = np.geomspace(0.01, 10, 61)
plt.plot(fine, reparameterization.policy_score_function_variance(1.0, fine), "C1", label="score function")
plt.plot(fine, reparameterization.policy_pathwise_variance(fine), "C0", label="pathwise")
plt.xscale("log")
plt.yscale("log")
plt.xlabel("sigma of the policy")
plt.ylabel("variance of a term, Q = a^2, mu = 1")
plt.legend()
plt.show()

# %% [markdown]
# What the path needs in return is a $Q$ that can be differentiated by the action. `sac.py` puts it to work.
