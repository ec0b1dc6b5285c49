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
# # TD3: three repairs
#
# A maximum over noisy estimates is too high on average, and an actor that climbs its critic finds exactly those
# errors; each target passes them on to the next. Twin delayed DDPG (Fujimoto et al. 2018, [arXiv
# 1802.09477](https://arxiv.org/abs/1802.09477)) repairs DDPG in three places:
#
# 1. **smoothing**: the target's action is spread a little (8.8);
# 2. **the minimum** of two critics goes into the target (8.9 to 8.11);
# 3. **delay**: actor and targets move once per two updates of the critics.
#
# Every equation stands beside polyak's own function, which is called on a real batch and checked. Equation numbers are
# those of the chapter "Combining policy gradient and Q-learning". `ddpg.py` comes first.
#
# It needs `pip install "polyak[box2d,notebooks]"`, or `make notebooks` in a checkout, and `helpers.py` beside it.

# %% tags=["parameters"]
BACKEND = "jax"  # or "torch", "tensorflow"
RUNS = "../runs"  # where the runs' folders are made
LESSON = {}  # what polyak.lessons.overestimation.run is to do otherwise, such as {"sigma": 2.0}
PENDULUM = {"steps": 20_000}  # twice, for DDPG and TD3: about five minutes on two cores
LANDER = {"steps": 300_000, "stop_at_return": 220.0}  # a quarter of an hour to half an hour

# %%
import importlib

import helpers
import matplotlib.pyplot as plt
import numpy as np

import polyak
from polyak import algorithm
from polyak.algorithms import td3 as td3_described
from polyak.lessons import overestimation

td3 = importlib.import_module(f"polyak.algorithms.td3.with_{BACKEND}")
common = importlib.import_module(f"polyak.frameworks.{BACKEND}.parts")

# %% [markdown]
# ## Something to look into
#
# A small learner, 100 updates old, and a batch of 64 transitions $(s, a, r, s', d)$ of Pendulum under random actions,
# as the framework's tensors and in NumPy. Noise is data: standard normal numbers, drawn by NumPy, go into the update.

# %%
example = helpers.example("td3", "Pendulum-v1", BACKEND)
state, batch, config = example.state, example.batch, example.config
s, a, r, s_next, discount, _ = example.data
noise, xi = example.noise["target_action"], example.noise_data["target_action"]
print("state:", ", ".join(state.entries))
forward = helpers.forward
print("noise:", type(noise), xi.shape)

# %% [markdown]
# ## The disease
#
# Let critic $i$ see $Q_i(a) = q(a) + \sigma z$, with a standard normal $z$ of its own for each action. No value is
# biased, but their maximum is: it prefers actions whose errors happen to point up. polyak's lesson measures three
# rules for the value of the next state beside the exact answers, for one step and for the many steps of Q-learning,
# whose targets pass the error on.

# %%
helpers.code(overestimation.value_by)

# %%
lesson = overestimation.run(**LESSON)
helpers.tables(overestimation.tables(lesson))

# %%
for position, each in enumerate(lesson.learning):
    exact = overestimation.expected_bias(each.one_step.exact, lesson.gamma, lesson.rate, each.steps)
    plt.plot(each.steps, exact, color=f"C{position}", label=overestimation.RULES[each.rule])
    plt.errorbar(each.steps, each.simulated, 2 * each.standard_error, fmt=".", markersize=3, color=f"C{position}")
plt.axhline(0, color="gray", linewidth=1)
plt.xlabel("steps of Q-learning")
plt.ylabel("how far Q is off")
plt.title("exact (lines) and simulated (points, two standard errors)")
plt.legend()
plt.show()

# %% [markdown]
# Why is too low better than too high? An actor seeks out what its critic values too highly, and keeps that error
# alive; what is valued too low it avoids.
#
# ## First repair: smoothing
#
# A value that holds only for one sharp action is not worth learning:
#
# $$a'(s') = \mathrm{clip}\big( \mu_{\theta_\text{target}}(s') + \mathrm{clip}(\epsilon, -c, c),\ a_\text{low},\
# a_\text{high} \big), \qquad \epsilon \sim \mathcal N(0, \sigma^2) \tag{8.8}$$
#
# with $\sigma$ = `target_noise` and $c$ = `target_noise_clip`; the learner's actions are normalized, so that the box
# is $[-1, 1]$.

# %%
helpers.code(td3.smoothed_target_action)

# %%
epsilon = np.clip(config.target_noise * xi, -config.target_noise_clip, config.target_noise_clip)
a_next = np.clip(np.tanh(forward(example.part("target_actor"), s_next)) + epsilon, -1, 1)
helpers.compare(td3.smoothed_target_action(state, batch, noise, config), a_next)

# %% [markdown]
# What it does to a target. Let a critic have a narrow crest at $a = 0.3$, such as an error has. Averaged over the
# noise, the crest is lower and wider: it promises less to an actor that runs to it.

# %%
grid = np.linspace(-1, 1, 401)
many = np.random.default_rng(0).standard_normal(4_000)
spread = np.clip(config.target_noise * many, -config.target_noise_clip, config.target_noise_clip)


def crested(action):
    return 1 - action**2 + 1.5 * np.exp(-(((action - 0.3) / 0.08) ** 2))


smooth = np.array([crested(np.clip(action + spread, -1, 1)).mean() for action in grid])
plt.plot(grid, crested(grid), label="Q(a), with an error's crest")
plt.plot(grid, smooth, label="its mean over the smoothed action")
plt.xlabel("action a")
plt.legend()
plt.show()
print(f"highest value: {crested(grid).max():.2f} before, {smooth.max():.2f} after")

# %% [markdown]
# ## Second repair: the minimum
#
# Both critics learn from one target, which takes the lower of both estimates:
#
# $$y(r, s', d) = r + \gamma\, (1 - d) \min_{i = 1, 2} Q_{\phi_{\text{target}, i}}\big(s', a'(s')\big) \tag{8.9}$$

# %%
helpers.code(td3.target)

# %%
q_next = [forward(example.part(f"target_critic_{i}"), np.hstack([s_next, a_next]))[:, 0] for i in (1, 2)]
y = r + discount * np.minimum(*q_next)
helpers.compare(td3.target(state, batch, noise, config), y)
print(f"critic 1 is the lower one in {np.mean(q_next[0] < q_next[1]):.0%} of the batch")
print(f"the minimum lies {np.mean(np.mean(q_next, axis=0) - np.minimum(*q_next)):.4f} below the mean of both")

# %% [markdown]
# $$L(\phi_1) = \frac{1}{|B|} \sum_{(s, a, r, s', d) \in B} \big( Q_{\phi_1}(s, a) - y(r, s', d) \big)^2 \tag{8.10}$$
#
# $$L(\phi_2) = \frac{1}{|B|} \sum_{(s, a, r, s', d) \in B} \big( Q_{\phi_2}(s, a) - y(r, s', d) \big)^2 \tag{8.11}$$
#
# The two losses are summed; each critic's gradient is that of its own.

# %%
helpers.code(td3.critic_loss)

# %%
critics, target = (state.critic_1.parameters, state.critic_2.parameters), helpers.tensors(y, BACKEND)
q = [forward(example.part(f"critic_{i}"), np.hstack([s, a]))[:, 0] for i in (1, 2)]
loss = np.mean((q[0] - y) ** 2) + np.mean((q[1] - y) ** 2)
helpers.compare(td3.critic_loss(critics, batch, target, config)[0], loss)
gradient = helpers.gradient_of(td3.critic_loss, BACKEND, config=config)(critics, batch, target)
for i in (0, 1):  # in the last bias, which adds to every Q of its critic
    helpers.compare(gradient[i].arrays["2"]["bias"], [2 * np.mean(q[i] - y)], 1e-4)

# %% [markdown]
# ## The actor
#
# It climbs the first critic alone:
#
# $$\max_\theta\ \frac{1}{|B|} \sum_{s \in B} Q_{\phi_1}\big(s, \mu_\theta(s)\big) \tag{8.12}$$

# %%
helpers.code(td3.actor_loss)

# %%
mu = np.tanh(forward(example.part("actor"), s))
expected = -np.mean(forward(example.part("critic_1"), np.hstack([s, mu])))
helpers.compare(td3.actor_loss(state.actor.parameters, critics[0], batch.observation)[0], expected)

# %% [markdown]
# ## Third repair: delay
#
# Actor and **all** targets move once per `policy_delay` updates of the critics, so that the actor climbs critics that
# have settled a little. The delay follows the number of updates since the run began.

# %%
helpers.code(td3.policy_and_targets, td3.update)


# %%
def kernel(net):
    """The first of a network or of a copy of one."""
    return np.asarray(getattr(net, "parameters", net).arrays["0"]["kernel"])


parts = ("critic_1", "critic_2", "actor", "target_actor", "target_critic_1", "target_critic_2")
update, now, moves = helpers.compiled(td3.update, BACKEND), state, []
due = algorithm.due(td3_described.every(config), 100, 4)
for number in range(4):
    before = now
    flags = {name: bool(each[number]) for name, each in due.items()}
    now, measured = update(now, batch, example.noise, flags, config)
    kernels = [[kernel(getattr(each, name)) for each in (before, now)] for name in parts]
    moves.append([not np.array_equal(*pair) for pair in kernels])
    moved = ", ".join(name for name, each in zip(parts, moves[-1], strict=True) if each)
    print(f"update {101 + number} moves {moved}; actor_loss {float(measured['actor_loss']):.3f}")
helpers.compare(moves, [[True] * 2 + [False] * 4, [True] * 6] * 2)

# %% [markdown]
# nan stands for "not computed in this update". What moved, moved by Polyak's average (8.2):

# %%
old, new = kernel(before.target_critic_2), kernel(now.critic_2)
helpers.compare(kernel(now.target_critic_2), config.polyak * old + (1 - config.polyak) * new)

# %% [markdown]
# ## Pendulum, beside DDPG
#
# The same environment, the same seed, the same settings where both have them.

# %%
runs = {name: polyak.train(name, "Pendulum-v1", backend=BACKEND, run_dir=RUNS, **PENDULUM) for name in ("ddpg", "td3")}

# %%
for run in runs.values():
    helpers.curves(run, ["train/return", "eval/return"], ["eval/q", "eval/discounted_return"])

# %% [markdown]
# `eval/q` is what the (first) critic expects at the first observations of the test episodes, `eval/discounted_return`
# what these episodes then really gave; above zero the critic is too high. The gap at the beginning is no
# over-estimation of this kind: a fresh critic says 0, and has yet to learn that Pendulum's returns are negative. Look
# at the end. One run of each proves nothing: `polyak compare td3 ddpg --environments Pendulum-v1 --seeds 0-4` is how
# to find out.

# %%
for name, run in runs.items():
    found = [record for record in run.metrics if "eval/q" in record and "eval/discounted_return" in record]
    gap = [record["eval/q"] - record["eval/discounted_return"] for record in found]
    plt.plot([record["step"] for record in found], gap, marker="o", markersize=3, label=name.upper())
    print(f"{name}: mean over the last quarter {np.mean(gap[-max(len(gap) // 4, 1) :]):.1f}")
plt.axhline(0, color="gray", linewidth=1)
plt.xlabel("environment steps")
plt.ylabel("eval/q - eval/discounted_return")
plt.legend()
plt.show()

# %%
helpers.curves(runs["td3"], ["learner/critic_loss"], ["learner/q", "learner/target"], ["learner/saturated"])

# %%
helpers.video(runs["td3"])

# %% [markdown]
# ## The lander
#
# Eight observations, two actions: main engine and side engines. A mean return of 200 counts as solved; training stops
# once an evaluation reaches 220.

# %%
lander = polyak.train("td3", "LunarLanderContinuous-v3", backend=BACKEND, run_dir=RUNS, **LANDER)

# %%
helpers.curves(lander, ["train/return", "eval/return"], ["eval/q", "eval/discounted_return"], ["learner/saturated"])

# %%
helpers.video(lander)

# %% [markdown]
# ## The reports
#
# Everything that was measured, settings and video in one page that opens from disk:

# %%
for run in (*runs.values(), lander):
    print(polyak.write_report([run]))

# %% [markdown]
# Where to go on: take the repairs out, one at a time. `target_noise=0.0` is no smoothing, `policy_delay=1` no delay.
# `sac.py` keeps the minimum and makes the noise part of the policy.
