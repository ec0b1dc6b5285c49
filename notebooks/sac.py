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
# # SAC: a policy that is paid for staying uncertain
#
# Soft actor-critic (Haarnoja et al. 2018, [arXiv 1801.01290](https://arxiv.org/abs/1801.01290) and
# [1812.05905](https://arxiv.org/abs/1812.05905)) learns a distribution over actions and adds its entropy to what is
# maximized. It explores as long as that does not cost too much, and needs no noise from outside.
#
# Every equation stands beside polyak's own function, which is called on a real batch and checked. Equation numbers are
# those of the chapter "Combining policy gradient and Q-learning". `reparameterization.py` shows why SAC's actor can
# learn from one sample a state.
#
# It needs `pip install "polyak[box2d,notebooks]"`, or `make notebooks` in a checkout, and `helpers.py` beside it.

# %% tags=["parameters"]
BACKEND = "jax"  # or "torch", "tensorflow"
RUNS = "../runs"  # where the runs' folders are made
LESSON = {}  # what polyak.lessons.entropy.run is to do otherwise, such as {"target": -2.0}
PENDULUM = {"steps": 20_000}  # two or three minutes on two cores
LANDER = {"steps": 300_000, "stop_at_return": 220.0}  # a quarter of an hour to an hour

# %%
import importlib

import helpers
import matplotlib.pyplot as plt
import numpy as np

import polyak
from polyak.lessons import entropy

sac = importlib.import_module(f"polyak.algorithms.sac.with_{BACKEND}")
common = importlib.import_module(f"polyak.frameworks.{BACKEND}.parts")

# %% [markdown]
# ## Entropy
#
# The entropy of a distribution is the surprise to be expected of it, here in nats:
#
# $$H(P) = \mathbb E_{x \sim P} \big[ -\ln P(x) \big] \tag{8.18}$$

# %%
helpers.code(entropy.coin_entropy)

# %%
p = np.linspace(0, 1, 101)
plt.figure(figsize=(5, 3))
plt.plot(p, entropy.coin_entropy(p))
plt.xlabel("p, probability of heads")
plt.ylabel("entropy of a coin (nats)")
plt.show()
helpers.compare(entropy.coin_entropy(np.array([0.25, 0.5])), [np.log(4) - 0.75 * np.log(3), np.log(2)])

# %% [markdown]
# A Gaussian's entropy grows without bound with $\sigma$. SAC squashes its Gaussian into $[-1, 1]$ by $\tanh$, where
# nothing has more entropy than the uniform distribution, $\ln 2$: a wide Gaussian is pushed against both ends, and its
# entropy falls again.

# %%
helpers.code(entropy.squashed_entropy)

# %%
lesson = entropy.run(**LESSON)
for each in lesson.squashed:
    plt.plot(lesson.sigmas, each.entropies, label=f"squashed, mu = {each.mu:g}")
plt.plot(lesson.sigmas, [entropy.gaussian_entropy(sigma) for sigma in lesson.sigmas], "--", label="Gaussian")
plt.axhline(np.log(2), color="gray", linewidth=1)
plt.axhline(lesson.target, color="gray", linestyle=":", label="SAC's target")
plt.xscale("log")
plt.ylim(-4, 3.5)
plt.xlabel("sigma before the tanh")
plt.ylabel("entropy (nats)")
plt.legend()
plt.show()
helpers.tables(entropy.tables(lesson))

# %% [markdown]
# ## The objective
#
# $$\pi^* = \arg\max_\pi\ \mathbb E_{\tau \sim \pi} \Big[ \sum_{t} \gamma^t \big( R(s_t, a_t, s_{t+1}) + \alpha\,
# H(\pi(\cdot \mid s_t)) \big) \Big] \tag{8.19}$$
#
# For one step and a known $Q$ the answer is $\pi(a) \propto e^{Q(a) / \alpha}$: every action keeps some probability,
# the more, the better it looks and the higher the temperature $\alpha$. The lesson's $Q$ has two hills; without
# entropy the lower one would never be visited again.

# %%
helpers.code(entropy.soft_optimal_log_density)

# %%
for each in lesson.soft:
    plt.plot(lesson.actions, each.density, label=f"alpha = {each.alpha:g}: entropy {each.entropy:.2f}")
    helpers.compare(np.trapezoid(each.density, lesson.actions), 1, 1e-2)
plt.xlabel("action a")
plt.ylabel("density of the best policy")
plt.legend()
plt.show()

# %% [markdown]
# ## Something to look into
#
# A small learner, 100 updates old, and a batch of 64 transitions of Pendulum under random actions, as the framework's
# tensors and in NumPy. Only the critics have targets. Noise is data: standard normal numbers, drawn by NumPy, go into
# the update.

# %%
example = helpers.example("sac", "Pendulum-v1", BACKEND)
state, batch, config = example.state, example.batch, example.config
s, a, r, s_next, discount, _ = example.data
print("state:", ", ".join(state.entries))
actor, log_alpha, forward = state.actor.parameters, state.log_alpha.parameters, helpers.forward
print("noise:", {name: value.shape for name, value in example.noise_data.items()})

# %% [markdown]
# ## The policy
#
# A Gaussian squashed by $\tanh$, sampled through noise that does not depend on the weights (8.16), so that gradients
# pass:
#
# $$\tilde a_\theta(s, \xi) = \tanh\big( \mu_\theta(s) + \sigma_\theta(s) \odot \xi \big), \qquad \xi \sim \mathcal
# N(0, I) \tag{8.30}$$
#
# With $u$ for what goes into $\tanh$,
#
# $$\log \pi(a \mid s) = \sum_j \Big[ \log \mathcal N(u_j; \mu_j, \sigma_j) - 2 \big( \ln 2 - u_j -
# \mathrm{softplus}(-2 u_j) \big) \Big].$$

# %%
helpers.code(sac.sample_action)


# %% [markdown]
# The change of variables, measured: where $\tanh$ maps a short interval around $u$ to one of another length, the
# density changes by the ratio of both lengths.


# %%
def drawn(actor, observation, xi):
    """Action and log-probability, the slope of tanh being measured: float64."""
    mean, log_sigma = np.split(forward(actor, observation), 2, axis=-1)
    u = mean + np.exp(log_sigma) * xi
    slope = (np.tanh(u + 1e-5) - np.tanh(u - 1e-5)) / 2e-5
    log_normal = -0.5 * xi**2 - log_sigma - 0.5 * np.log(2 * np.pi)
    return np.tanh(u), np.sum(log_normal - np.log(slope), axis=-1)


xi = example.noise_data["action"].astype(np.float64)
action, log_probability = sac.sample_action(actor, batch.observation, example.noise["action"])
for computed, expected in zip((action, log_probability), drawn(example.part("actor"), s, xi), strict=True):
    helpers.compare(computed, expected, 1e-4)

# %% [markdown]
# The form with softplus is there because the obvious one breaks: in float32, $\tanh(u)$ is 1 from $u \approx 9$ on.

# %%
u = np.array([1.0, 5.0, 12.0], np.float32)
with np.errstate(divide="ignore"):
    print("log(1 - tanh(u)^2)              ", np.log(1 - np.tanh(u) ** 2))
print("2 (ln 2 - u - softplus(-2 u))   ", entropy.log_jacobian(u))

# %% [markdown]
# In one state: samples of the action, and the density that the log-probability promises, which has to sum to 1.

# %%
count = 4_001
here = helpers.tensors(np.repeat(s[:1], count, axis=0), BACKEND)
fine = np.linspace(-6, 6, count, dtype=np.float32)[:, None]
actions, log_density = (np.asarray(each) for each in sac.sample_action(actor, here, helpers.tensors(fine, BACKEND)))
helpers.compare(np.trapezoid(np.exp(log_density), actions[:, 0]), 1, 1e-3)
random = np.random.default_rng(0).standard_normal((count, 1), dtype=np.float32)
samples, _ = sac.sample_action(actor, here, helpers.tensors(random, BACKEND))
plt.hist(np.asarray(samples)[:, 0], 60, range=(-1, 1), density=True, alpha=0.4, label="samples")
plt.plot(actions[:, 0], np.exp(log_density), label="exp(log pi)")
plt.xlabel("action a")
plt.legend()
plt.show()

# %% [markdown]
# ## Target and critics
#
# The value of a state holds what the entropy will bring:
#
# $$V(s) = \mathbb E_{a \sim \pi} \big[ Q(s, a) - \alpha \log \pi(a \mid s) \big] \tag{8.20 to 8.23}$$
#
# The target takes one sample of it, from the **current** policy (there is no target policy), and the lower of both
# critics:
#
# $$y(r, s', d) = r + \gamma\, (1 - d) \Big( \min_{i = 1, 2} Q_{\phi_{\text{target}, i}}(s', \tilde a') - \alpha \log
# \pi_\theta(\tilde a' \mid s') \Big), \qquad \tilde a' \sim \pi_\theta(\cdot \mid s') \tag{8.24 to 8.28}$$

# %%
helpers.code(sac.target)

# %%
alpha = np.exp(example.arrays["log_alpha"])
a_next, log_pi = drawn(example.part("actor"), s_next, example.noise_data["next_action"].astype(np.float64))
q_next = [forward(example.part(f"target_critic_{i}"), np.hstack([s_next, a_next]))[:, 0] for i in (1, 2)]
y = r + discount * (np.minimum(*q_next) - alpha * log_pi)
helpers.compare(sac.target(state, batch, example.noise["next_action"]), y, 1e-4)

# %% [markdown]
# $$L(\phi_i) = \frac{1}{|B|} \sum_{(s, a, r, s', d) \in B} \big( Q_{\phi_i}(s, a) - y(r, s', d) \big)^2, \qquad i =
# 1, 2 \tag{8.28}$$

# %%
helpers.code(sac.critic_loss)

# %%
critics, target = (state.critic_1.parameters, state.critic_2.parameters), helpers.tensors(y, BACKEND)
q = [forward(example.part(f"critic_{i}"), np.hstack([s, a]))[:, 0] for i in (1, 2)]
loss = np.mean((q[0] - y) ** 2) + np.mean((q[1] - y) ** 2)
helpers.compare(sac.critic_loss(critics, batch, target, config)[0], loss)

# %% [markdown]
# ## Actor
#
# The actor maximizes the lower critic plus entropy, in the reparameterized form:
#
# $$\max_\theta\ \frac{1}{|B|} \sum_{s \in B} \Big( \min_{i = 1, 2} Q_{\phi_i}\big(s, \tilde a_\theta(s, \xi)\big) -
# \alpha \log \pi_\theta\big(\tilde a_\theta(s, \xi) \mid s\big) \Big) \tag{8.30 to 8.35}$$

# %%
helpers.code(sac.minimum, sac.actor_loss)


# %%
def objective(actor):
    a_now, log_pi = drawn(actor, s, xi)
    q_now = [forward(example.part(f"critic_{i}"), np.hstack([s, a_now]))[:, 0] for i in (1, 2)]
    return np.mean(np.minimum(*q_now) - alpha * log_pi)


q_of = helpers.partial(sac.minimum, critics, BACKEND)
arguments = (actor, q_of, helpers.tensors(alpha, BACKEND), batch.observation, example.noise["action"])
helpers.compare(sac.actor_loss(*arguments)[0], -objective(example.part("actor")), 1e-4)

# %% [markdown]
# Its gradient in the two last biases, that of $\mu$ and that of $\ln \sigma$, beside what moving them a little to both
# sides gives:

# %%
slopes = []
for h in 1e-4 * np.eye(2):
    there, back = ({**example.part("actor"), "2/bias": example.part("actor")["2/bias"] + sign * h} for sign in (1, -1))
    slopes.append((objective(there) - objective(back)) / 2e-4)
helpers.compare(helpers.gradient_of(sac.actor_loss, BACKEND)(*arguments).arrays["2"]["bias"], -np.array(slopes), 1e-2)

# %% [markdown]
# ## Temperature
#
# $\alpha$ may be fixed (0.2 in the chapter, `learn_alpha=False`). By default it is learned, so that the policy's
# entropy comes to $\bar H$ = `target_entropy`, minus the number of action dimensions unless set (equation 18 of
# 1812.05905):
#
# $$J(\alpha) = \mathbb E_{a \sim \pi} \big[ -\alpha \log \pi(a \mid s) - \alpha \bar H \big]$$

# %%
helpers.code(sac.temperature_loss)

# %%
mean = np.mean(np.asarray(log_probability))
computed = sac.temperature_loss(log_alpha, helpers.tensors(mean, BACKEND), -1.0)
helpers.compare(computed, -alpha * (mean - 1.0))

# %% [markdown]
# It is a thermostat: an entropy below its target makes entropy dearer, one above makes it cheaper. What the loss says
# of $\ln \alpha$, measured a little to both sides (Adam's momentum makes the temperature take a few updates to turn):


# %%
def slope_of(target_entropy):
    ends = [helpers.tensors(example.arrays["log_alpha"] + h, BACKEND) for h in np.float32([0.01, -0.01])]
    up, down = (float(sac.temperature_loss(end, helpers.tensors(mean, BACKEND), target_entropy)) for end in ends)
    return (up - down) / 0.02


for target_entropy in (-mean + 1, -mean - 1):
    slope = slope_of(float(target_entropy))
    print(f"entropy {-mean:.2f}, target {target_entropy:.2f}: alpha is to {'rise' if slope < 0 else 'fall'}")
    helpers.compare(slope, -alpha * (mean + target_entropy), 1e-3)

# %% [markdown]
# ## One update
#
# Critic step, actor step, temperature step, Polyak step of the critics' targets.

# %%
helpers.code(sac.improved, sac.update)

# %%
after, measured = helpers.compiled(sac.update, BACKEND)(state, batch, example.noise, {}, config)
print({name: round(float(value), 4) for name, value in measured.items() if name != "error"})  # which is an array
old, new = example.part("target_critic_1")["0/kernel"], np.asarray(after.critic_1.parameters.arrays["0"]["kernel"])
helpers.compare(after.target_critic_1.arrays["0"]["kernel"], config.polyak * old + (1 - config.polyak) * new)  # (8.2)

# %% [markdown]
# ## Pendulum
#
# The pendulum has to be swung up and held. Its return is a sum of costs: 0 would be perfect, about -150 in the mean is
# as good as it gets.

# %%
run = polyak.train("sac", "Pendulum-v1", backend=BACKEND, run_dir=RUNS, **PENDULUM)

# %%
helpers.curves(run, ["train/return", "eval/return"], ["learner/critic_loss"], ["learner/q"])

# %% [markdown]
# Entropy begins near that of a uniform policy, $\ln 2$, and comes down to its target, -1; the temperature falls until
# the entropy is there, and follows it from then on. What then happens shows the thermostat at work.

# %%
helpers.curves(run, ["learner/entropy"], ["learner/alpha"], ["learner/saturated"])

# %%
helpers.video(run)

# %% [markdown]
# ## The lander
#
# Eight observations, two actions: main engine and side engines. A mean return of 200 counts as solved; training stops
# once an evaluation reaches 220. Two actions: the entropy's target is -2.

# %%
lander = polyak.train("sac", "LunarLanderContinuous-v3", backend=BACKEND, run_dir=RUNS, **LANDER)

# %%
helpers.curves(lander, ["train/return", "eval/return"], ["learner/entropy"], ["learner/alpha"])

# %% [markdown]
# `eval/q` is what the first critic expects at the first observations of the test episodes; it also holds the entropy
# that the policy will be paid for, so that it may lie above what the episodes give.

# %%
helpers.curves(lander, ["eval/q", "eval/discounted_return"], ["learner/saturated"])

# %%
helpers.video(lander)

# %% [markdown]
# ## The reports
#
# Everything that was measured, settings and video in one page that opens from disk:

# %%
for each in (run, lander):
    print(polyak.write_report([each]))

# %% [markdown]
# Where to go on: `learn_alpha=False, alpha=0.2` are the chapter's; `alpha=0.01` is nearly no entropy at all, and
# `alpha=1.0` too much of it.
