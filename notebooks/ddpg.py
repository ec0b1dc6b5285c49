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
# # DDPG: a critic, and an actor that climbs it
#
# Q-learning reuses old transitions, but has to find $\max_a Q(s', a)$, which nobody can do quickly over continuous
# actions. Policy gradients choose continuous actions, but throw transitions away. Deep deterministic policy gradient
# (Lillicrap et al. 2016, [arXiv 1509.02971](https://arxiv.org/abs/1509.02971)) learns both: an actor $\mu_\theta(s)$
# that stands in for the maximum,
#
# $$\max_{a'} Q(s', a') \approx Q(s', \mu_\theta(s')),$$
#
# and a critic $Q_\phi(s, a)$ that learns from replay. Every equation below stands beside polyak's own function, which
# is called on a real batch and checked. Equation numbers are those of the chapter "Combining policy gradient and
# Q-learning".
#
# Change the framework here; everything below follows. The trainings take `polyak.train`'s settings by name, over those
# of the environment's preset.
#
# It needs `pip install "polyak[box2d,notebooks]"`, or `make notebooks` in a checkout, and `helpers.py` beside it.

# %% tags=["parameters"]
BACKEND = "jax"  # or "torch", "tensorflow"
RUNS = "../runs"  # where the runs' folders are made
PENDULUM = {"steps": 20_000}  # two or three minutes on two cores
LANDER = {"steps": 300_000, "stop_at_return": 220.0}  # a quarter of an hour to an hour

# %%
import dataclasses
import importlib

import helpers
import matplotlib.pyplot as plt
import numpy as np

import polyak

ddpg = importlib.import_module(f"polyak.algorithms.ddpg.with_{BACKEND}")
common = importlib.import_module(f"polyak.frameworks.{BACKEND}.parts")

# %% [markdown]
# ## Something to look into
#
# A small learner, 100 updates old, and a batch of 64 transitions $(s, a, r, s', d)$ of Pendulum under random actions.
# Observations are $[\cos\vartheta, \sin\vartheta, \dot\vartheta]$; actions are normalized to $[-1, 1]$. `state` and
# `batch` are the framework's tensors, `example.data` and `example.part(...)` the same numbers in NumPy.

# %%
example = helpers.example("ddpg", "Pendulum-v1", BACKEND)
state, batch, config = example.state, example.batch, example.config
s, a, r, s_next, discount, _ = example.data
print(type(batch.observation))
print("observation", s.shape, "action", a.shape, "reward", r.shape, "next observation", s_next.shape)
print("state:", ", ".join(state.entries))
actor, critic = state.actor.parameters, state.critic.parameters
forward = helpers.forward

# %% [markdown]
# ## Actor and critic
#
# The actor ends in $\tanh$; the critic takes $[s, a]$ and has one output.

# %%
helpers.code(ddpg.mu, common.q_value, common.network)

# %%
helpers.compare(ddpg.mu(actor, batch.observation), np.tanh(forward(example.part("actor"), s)))
q = forward(example.part("critic"), np.hstack([s, a]))[:, 0]
helpers.compare(common.q_value(critic, batch.observation, batch.action), q)

# %% [markdown]
# ## What the critic learns
#
# The target comes from target networks only:
#
# $$y(r, s', d) = r + \gamma\,(1 - d)\, Q_{\phi_\text{target}}\big(s', \mu_{\theta_\text{target}}(s')\big) \tag{8.5}$$

# %%
helpers.code(ddpg.target)

# %%
a_next = np.tanh(forward(example.part("target_actor"), s_next))
y = r + discount * forward(example.part("target_critic"), np.hstack([s_next, a_next]))[:, 0]
helpers.compare(ddpg.target(state, batch), y)

# %% [markdown]
# A batch holds $\gamma\,(1 - d)$ as one number, `discount`. $d$ is 1 only where the environment *terminated*. Pendulum
# never does: its episodes are cut by a time limit, are stored with $d = 0$, and bootstrap. If every transition had
# ended its episode, the target would be the reward:

# %%
print("terminated in this batch:", int(np.sum(discount == 0)))
ended = batch._replace(discount=helpers.tensors(np.zeros_like(r), BACKEND))
helpers.compare(ddpg.target(state, ended), r)

# %% [markdown]
# The critic minimizes the mean-squared Bellman error, in which all transitions weigh 1,
#
# $$L(\phi) = \frac{1}{|B|} \sum_{(s, a, r, s', d) \in B} \big( Q_\phi(s, a) - y(r, s', d) \big)^2. \tag{8.5}$$

# %%
helpers.code(ddpg.critic_loss)

# %%
helpers.compare(ddpg.critic_loss(critic, batch, helpers.tensors(y, BACKEND), config)[0], np.mean((q - y) ** 2))

# %% [markdown]
# Its gradient in the last bias, which adds to every $Q$, can be written down: $\frac{2}{|B|} \sum (Q - y)$.

# %%
gradient = helpers.gradient_of(ddpg.critic_loss, BACKEND, config=config)(critic, batch, helpers.tensors(y, BACKEND))
helpers.compare(gradient.arrays["2"]["bias"], [2 * np.mean(q - y)], 1e-4)

# %% [markdown]
# ## What the actor climbs
#
# The actor maximizes what the critic says of its actions,
#
# $$\max_\theta\ \frac{1}{|B|} \sum_{s \in B} Q_\phi\big(s, \mu_\theta(s)\big), \tag{8.6}$$
#
# and the gradient runs through the action into the actor:
#
# $$\frac{1}{|B|} \sum_{s \in B} \nabla_a Q_\phi(s, a)\big|_{a = \mu_\theta(s)}\, \nabla_\theta\, \mu_\theta(s).
# \tag{8.7}$$

# %%
helpers.code(ddpg.actor_loss)

# %%
mu = np.tanh(forward(example.part("actor"), s))
helpers.compare(
    ddpg.actor_loss(actor, critic, batch.observation)[0],
    -np.mean(forward(example.part("critic"), np.hstack([s, mu]))),
)

# %% [markdown]
# (8.7) by hand, for the actor's last bias $b$: there $\nabla_b\, \mu = 1 - \mu^2$, the slope of $\tanh$, and $\nabla_a
# Q$ is measured by moving the action a little to both sides.


# %%
def q_of(action):
    return forward(example.part("critic"), np.hstack([s, action]))


slope = (q_of(mu + 1e-6) - q_of(mu - 1e-6)) / 2e-6
gradient = helpers.gradient_of(ddpg.actor_loss, BACKEND)(actor, critic, batch.observation)
helpers.compare(gradient.arrays["2"]["bias"], -np.mean(slope * (1 - mu**2), axis=0), 1e-4)

# %% [markdown]
# ## One update
#
# Critic step, actor step, Polyak step of both targets.

# %%
helpers.code(ddpg.update)

# %%
update = helpers.compiled(ddpg.update, BACKEND)
after, measured = update(state, batch, {}, {}, config)
print({name: round(float(value), 4) for name, value in measured.items() if name != "error"})  # which is an array

# %% [markdown]
# The critic receives nothing from the actor's loss. With an actor that takes steps a thousand times as large, the new
# critic is the same:

# %%
hasty = dataclasses.replace(config, actor_learning_rate=1000 * config.actor_learning_rate)
other, _ = update(state, batch, {}, {}, hasty)
kernels = [each.critic.parameters.arrays["0"]["kernel"] for each in (other, after)]
helpers.compare(*kernels, 1e-6)
actors = [np.asarray(each.actor.parameters.arrays["0"]["kernel"]) for each in (other, after)]
moved = np.abs(actors[0] - actors[1]).max()
print(f"while the actors differ by up to {moved:.2f}")

# %% [markdown]
# The targets follow slowly, with $\rho$ = `polyak`:
#
# $$\phi_\text{target} \leftarrow \rho\, \phi_\text{target} + (1 - \rho)\, \phi \tag{8.2}$$

# %%
helpers.code(common.averaged)

# %%
old, new = example.part("target_critic")["0/kernel"], np.asarray(after.critic.parameters.arrays["0"]["kernel"])
helpers.compare(after.target_critic.arrays["0"]["kernel"], config.polyak * old + (1 - config.polyak) * new)

# %% [markdown]
# ## Exploring
#
# The policy is deterministic, so that noise has to come from outside: $a = \mathrm{clip}\big(\mu_\theta(s) +
# \epsilon,\ a_\text{low},\ a_\text{high}\big)$, $\epsilon \sim \mathcal N(0, \sigma^2)$. A trained policy needs no
# framework: it acts in NumPy.

# %%
helpers.code(polyak.Policy.explore)

# %%
spec = polyak.Spec((3,), (1,), np.array([-2.0], np.float32), np.array([2.0], np.float32))
policy = polyak.Policy(example.part("actor"), spec, "deterministic", exploration_noise=0.1)
xi = np.random.default_rng(0).standard_normal(mu.shape)
helpers.compare(policy.explore(s, xi), np.clip(mu + 0.1 * xi, -1, 1))

# %% [markdown]
# ## Pendulum
#
# The pendulum has to be swung up and held. Its return is a sum of costs: 0 would be perfect, about -150 in the mean is
# as good as it gets.

# %%
run = polyak.train("ddpg", "Pendulum-v1", backend=BACKEND, run_dir=RUNS, **PENDULUM)

# %%
helpers.curves(run, ["train/return", "eval/return"], ["learner/critic_loss"], ["learner/q"], ["learner/saturated"])

# %% [markdown]
# `learner/saturated` is the fraction of the actor's actions at the end of their range, where $\tanh$ is flat and
# little gradient passes (8.7).
#
# ### Is the critic right?
#
# `eval/q` is what the critic expects at the first observations of the test episodes, `eval/discounted_return` what
# these episodes then really gave. In the beginning they are far apart because a fresh critic says 0, and has yet to
# learn that Pendulum's returns are negative. What remains in the end is of another kind: an actor that climbs its
# critic finds the critic's errors, above all those that point up. Where the first curve stays above the second, the
# critic over-estimates. TD3 is made against this.

# %%
helpers.curves(run, ["eval/q", "eval/discounted_return"])

# %%
helpers.video(run)

# %% [markdown]
# ## The lander
#
# Eight observations, two actions: main engine and side engines. A mean return of 200 counts as solved; training stops
# once an evaluation reaches 220. DDPG is the least reliable of the three here: its `learner/q` may climb far beyond
# any return.

# %%
lander = polyak.train("ddpg", "LunarLanderContinuous-v3", backend=BACKEND, run_dir=RUNS, **LANDER)

# %%
helpers.curves(lander, ["train/return", "eval/return"], ["eval/q", "eval/discounted_return"], ["learner/saturated"])

# %%
helpers.video(lander)

# %% [markdown]
# How far above the truth is each critic? Below zero it would be too modest.

# %%
for each in (run, lander):
    found = [record for record in each.metrics if "eval/q" in record and "eval/discounted_return" in record]
    gap = [record["eval/q"] - record["eval/discounted_return"] for record in found]
    plt.plot([record["step"] / found[-1]["step"] for record in found], gap, label=each.settings["environment"])
plt.axhline(0, color="gray", linewidth=1)
plt.xlabel("part of the training")
plt.ylabel("eval/q - eval/discounted_return")
plt.legend()
plt.show()

# %% [markdown]
# ## The reports
#
# Everything that was measured, settings and video in one page that opens from disk:

# %%
for each in (run, lander):
    print(polyak.write_report([each]))

# %% [markdown]
# Where to go on: `td3.py` repairs what went wrong here. Try `exploration_noise=0.3`, or
# `exploration_correlation=0.85`, the paper's Ornstein-Uhlenbeck noise; try `preset="book"`, the chapter's own
# settings.
