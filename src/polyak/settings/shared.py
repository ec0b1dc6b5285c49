"""The settings that all algorithms share, each checked at the door."""

from dataclasses import dataclass
from typing import Annotated, Literal

from polyak.errors import UsageError
from polyak.networks.layers import ActivationKind, NetworkKind
from polyak.settings.kinds import (
    ABOVE_0,
    AT_LEAST_0,
    Bare,
    Changeable,
    Count,
    GoalEnds,
    Limit,
    check_fields,
    require,
)

Schedule = Literal["constant", "linear", "cosine"]
Decayed = Literal["kernels", "all"]

WITHIN = Limit("above 0 and below 1", lambda number: 0 < number < 1)
IN_UNIT = Limit("in [0, 1]", lambda number: 0 <= number <= 1)
IN_UNIT_OR_NONE = Limit("in [0, 1], or None", IN_UNIT.holds)
BELOW_1 = Limit("in [0, 1)", lambda number: 0 <= number < 1)
ABSENT_OR_1 = Limit("at least 1, or None", lambda steps: steps >= 1)
WIDTHS = Limit("one or more widths of at least 1", lambda sizes: len(sizes) >= 1 and min(sizes) >= 1)
WIDTHS_OR_NONE = Limit("one or more widths of at least 1, or None", WIDTHS.holds)
MOST_STEPS_AHEAD = 1_000
"""More than anybody means: each is a look into replay for every transition of a batch."""
STEPS_AHEAD = Limit(f"at least 1 and at most {MOST_STEPS_AHEAD:,}", lambda steps: 1 <= steps <= MOST_STEPS_AHEAD)
Prioritized = Annotated[Literal["none", "proportional", "lap"], Bare("proportional")]
EXPONENTS = {"proportional": 0.6, "lap": 0.4}
CORRECTION = 0.4
"""The exponents that Schaul et al. 2016 (1511.05952) and Fujimoto et al. 2020 (2007.06049) have."""
LAGS = Limit("0 or 1", lambda lag: lag in (0, 1))
MOST_REPEATED = 1_000
"""Steps that one action or one draw of noise lasts: more than anybody means."""
REPEATED = Limit(f"at least 1 and at most {MOST_REPEATED:,}", lambda steps: 1 <= steps <= MOST_REPEATED)
RANGE = Limit(
    "two numbers, LOW and HIGH, with 0 <= LOW <= HIGH and HIGH above 0",
    lambda ends: len(ends) == 2 and 0 <= ends[0] <= ends[1] and ends[1] > 0,
)


@dataclass(frozen=True)
class Optimizer:
    """How a network is stepped: Adam (Kingma and Ba 2015), with decoupled weight decay (Loshchilov and Hutter 2019)."""

    rate: float
    """The step size, at first."""
    beta_1: float = 0.9
    beta_2: float = 0.999
    decay: float = 0.0
    """What is taken from each decayed array at a step, as a part of it and of the rate."""
    decayed: Decayed = "kernels"
    """Of a network's arrays: kernels alone, or biases and norms too."""
    schedule: Schedule = "constant"
    """How the rate falls with the network's own count of steps, from 1 to `end` of it, at the `horizon`."""
    end: float = 0.0
    horizon: int = 1


def complement(beta: float) -> float:
    """1 - beta as it is written, 0.1 of 0.9, where the difference of two doubles is off by a rounding."""
    return round(1.0 - beta, 12)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Schedule, replay, optimization and networks. Steps are environment steps, summed over all environments.

    What is `Changeable` may be another on resume; `steps` may be too, which has an argument of its own there.
    """

    steps: Annotated[int, AT_LEAST_0] = 1_000_000
    """Environment steps of the whole run; 0 where it learns from demonstrations alone, by offline_updates."""
    offline_updates: Annotated[int, AT_LEAST_0] = 0
    """Gradient steps of a run of 0 environment steps, which learns from demonstrations alone. What else counts steps
    counts these then: epochs, checkpoints, records, bursts."""
    start_steps: Annotated[int, AT_LEAST_0] = 10_000
    """Actions of the first this many steps are uniform over the action box."""
    update_after: int = 1_000
    """No gradient step before this many steps; at least batch_size."""
    update_every: Count = 1
    """Steps between bursts of gradient steps."""
    updates_per_step: Annotated[float, ABOVE_0] = 1.0
    """Gradient steps per environment step, however many environments there are."""
    lag: Annotated[int, LAGS] = 0
    """1: the environments go on with the policy before it while a burst of gradient steps is computed; 0: they wait."""
    steps_per_epoch: Annotated[Count, Changeable(exact=False)] = 5_000
    """Steps between evaluations, which also write metrics and save the policy."""
    evaluation_episodes: Annotated[Count, Changeable(exact=False)] = 10
    """Episodes of each evaluation."""
    max_episode_steps: Annotated[int | None, ABSENT_OR_1] = None
    """Time limit of an episode in the environment's own steps; None keeps the environment's own."""
    action_repeat: Annotated[int, REPEATED] = 1
    """The environment's own steps that each action is taken for, their rewards summed; what steps count are actions."""
    replay_size: Count = 1_000_000
    """Transitions that replay holds before it overwrites the oldest."""
    batch_size: Count = 256
    """Transitions in the batch of one gradient step."""
    demonstration_fraction: Annotated[float, WITHIN] = 0.5
    """The part of each batch that is drawn from the demonstrations, where there are any, to the nearest row."""
    discount: Annotated[float, IN_UNIT] = 0.99
    """gamma, in [0, 1]."""
    n_step: Annotated[int, STEPS_AHEAD] = 1
    """Rewards that a target counts before it asks the critic; fewer at an episode's end and the newest transitions."""
    normalize_observations: bool = False
    """Show networks observations less their running mean, by their standard deviation, at most 10 of it."""
    normalize_rewards: bool = False
    """Divide rewards by the running spread of the discounted return, for the learner alone; returns are told raw."""
    hindsight: bool = False
    """Let k of k + 1 transitions be of another goal, one that was achieved later in their episode: for environments
    with observation, achieved_goal, desired_goal and compute_reward."""
    hindsight_goals: Count = 4
    """k."""
    goal_ends: GoalEnds = "environment"
    """What ends an episode at a goal set in hindsight: environment (its compute_terminated), never, or reward (that the
    greatest reward is given)."""
    prioritized: Prioritized = "none"
    """How transitions are drawn: none, all alike; proportional, those of large errors more often, and counted less for
    it; lap, more often, with a loss that is linear in errors above 1. The flag alone means proportional."""
    priority_exponent: Annotated[float | None, IN_UNIT_OR_NONE] = None
    """alpha: how much more often, from 0, alike, to 1; None: 0.6 where they are drawn in proportion, 0.4 in lap."""
    priority_correction: Annotated[float | None, IN_UNIT_OR_NONE] = None
    """beta: how far weights make up for it where they are drawn in proportion, at first; 1 at the end; None: 0.4."""
    polyak: Annotated[float, BELOW_1] = 0.995
    """rho of the target networks (8.2): target <- rho target + (1 - rho) network."""
    actor_learning_rate: Annotated[float, ABOVE_0, Changeable(exact=False)] = 1e-3
    """Adam's step size for the actor."""
    critic_learning_rate: Annotated[float, ABOVE_0, Changeable(exact=False)] = 1e-3
    """Adam's step size for the critics."""
    learning_rate_schedule: Schedule = "constant"
    """How all step sizes fall over the run's updates: constant, linear, or as half a cosine."""
    learning_rate_end: Annotated[float, IN_UNIT] = 0.0
    """The fraction of each step size that is left at the run's end, where they fall."""
    adam_beta_1: Annotated[float, BELOW_1] = 0.9
    """Decay of Adam's mean of the gradients."""
    adam_beta_2: Annotated[float, BELOW_1] = 0.999
    """Decay of Adam's mean of their squares."""
    weight_decay: Annotated[float, AT_LEAST_0] = 0.0
    """Decoupled weight decay (AdamW) of the kernels of actor and critics: kernel <- kernel - rate * this * kernel."""
    weight_decay_of: Decayed = "kernels"
    """What decays: the kernels, or all weights of actor and critics, biases and norms among them."""
    network: NetworkKind = "mlp"
    """Actor's and critics' networks: layer_norm normalizes each hidden layer, simba is of residual blocks."""
    hidden_sizes: Annotated[tuple[int, ...], WIDTHS] = (256, 256)
    """Widths of the hidden layers of actor and critics; of simba, one width as often as there are blocks."""
    critic_hidden_sizes: Annotated[tuple[int, ...] | None, WIDTHS_OR_NONE] = None
    """Widths of the critics' hidden layers, where they are others; None: hidden_sizes."""
    activation: ActivationKind = "relu"
    """The function behind each hidden layer of actor and critics."""
    exploration_correlation: Annotated[float, BELOW_1] = 0.0
    """Correlation in [0, 1) of an episode's successive exploration noise: 0 is white, near 1 Ornstein-Uhlenbeck."""
    exploration_hold: Annotated[int, REPEATED] = 1
    """The most steps that exploration noise is held for, k of them as often as 1 / k^2; 1: it is new in every step."""
    exploration_spread: Annotated[tuple[float, float] | None, RANGE] = None
    """LOW HIGH: each environment's deviation of noise lies between, new with each episode; for SAC, times its own."""

    def __post_init__(self) -> None:
        check_fields(self, type(self))
        self._require_prioritized()
        require(
            "batch_size",
            self.batch_size,
            self.batch_size <= self.replay_size,
            f"at most replay_size ({self.replay_size}): lower the one or raise the other",
        )
        require(
            "update_after",
            self.update_after,
            self.update_after >= self.batch_size,
            f"at least batch_size ({self.batch_size}), so that a full batch of transitions is there",
        )
        self._require_length()
        self._require_blocks()
        require(
            "action_repeat",
            self.action_repeat,
            self.action_repeat == 1 or not self.hindsight,
            "1 with hindsight: of the steps within a repeated one, no goals are kept to ask their rewards for",
        )
        require(
            "exploration_hold",
            self.exploration_hold,
            self.exploration_hold == 1 or self.exploration_correlation == 0,
            f"1 where exploration_correlation is {self.exploration_correlation:g}: to hold noise, set that to 0",
        )

    def _require_length(self) -> None:
        if self.offline_updates == 0:
            limit = "at least 1, or 0 with offline_updates (--offline-updates), to learn from demonstrations alone"
            require("steps", self.steps, self.steps >= 1, limit)
            return
        why = f"0, because offline_updates is {self.offline_updates:,}: a run learns from demonstrations alone, or acts"
        require("steps", self.steps, self.steps == 0, f"{why}; one with --from and --demonstrations acts afterwards")
        every = self.update_every
        below, above = self.offline_updates // every * every, -(-self.offline_updates // every) * every
        whole = f"a multiple of update_every ({every}), whose bursts these are: {f'{below} or ' * (below > 0)}{above}"
        require("offline_updates", self.offline_updates, below == above, whole)

    @property
    def offline(self) -> bool:
        """Whether the run learns from demonstrations alone, and takes no steps."""
        return self.offline_updates > 0

    @property
    def length(self) -> int:
        """Of the whole run, in what it counts: environment steps, or offline the updates."""
        return self.offline_updates or self.steps

    @property
    def unit(self) -> str:
        """What the run counts, in a word."""
        return "updates" if self.offline else "steps"

    def demonstrated(self, batch_size: int) -> int:
        """Rows of a batch that are drawn from demonstrations, where there are any."""
        return batch_size if self.offline else round(self.demonstration_fraction * batch_size)

    def _require_blocks(self) -> None:
        kinds = {"hidden_sizes": self.network, "critic_hidden_sizes": self.network_of_critics}
        if self.critic_hidden_sizes is None and self.network_of_critics == "simba":
            kinds["hidden_sizes"] = "simba"
        for name, kind in kinds.items():
            sizes = getattr(self, name)
            one_width = kind != "simba" or sizes is None or len(set(sizes)) == 1
            require(name, sizes, one_width, "one width as often as there are blocks, as (256, 256), of a simba network")

    @property
    def network_of_critics(self) -> NetworkKind:
        """The kind of the critics' networks."""
        return self.network

    def _require_prioritized(self) -> None:
        """That nothing is said of priorities where there are none, nor of weights where all are 1."""
        for name, value, rules in (
            ("priority_exponent", self.priority_exponent, EXPONENTS),
            ("priority_correction", self.priority_correction, ("proportional",)),
        ):
            if value is not None and self.prioritized not in rules:
                raise UsageError(
                    f"{name} is {value}, but prioritized is {self.prioritized}: leave it out, or choose prioritized "
                    f"{' or '.join(rules)}"
                )

    @property
    def priority_exponents(self) -> tuple[float, float]:
        """alpha, and the first beta, of replay that is prioritized."""
        alpha = EXPONENTS[self.prioritized] if self.priority_exponent is None else self.priority_exponent
        return alpha, CORRECTION if self.priority_correction is None else self.priority_correction

    @property
    def updates(self) -> int:
        """Gradient steps of the whole run."""
        if self.offline:
            return self.offline_updates
        bursts = self.steps // self.update_every - (self.update_after - 1) // self.update_every
        return max(int(bursts * self.update_every * self.updates_per_step + 1e-9), 0)

    @property
    def learns_nothing(self) -> str:
        """What is said of a run that ends before learning begins, or as it does; empty of one that learns."""
        if self.offline or self.steps > self.update_after:
            return ""
        count = f"next to nothing is learned ({self.updates:,} updates)" if self.updates else "nothing is learned"
        return (
            f"{count}: learning begins at step {self.update_after:,} (update_after), and the run has {self.steps:,}; "
            "more steps or a lower update_after would train"
        )

    def optimizer(self, trained: str) -> Optimizer:
        """How a network or a parameter is stepped, by its name."""
        return Optimizer(
            rate=self.learning_rate(trained),
            beta_1=self.adam_beta_1,
            beta_2=self.adam_beta_2,
            decay=self.weight_decay,
            decayed=self.weight_decay_of,
            schedule=self.learning_rate_schedule,
            end=self.learning_rate_end,
            horizon=max(self.updates // self.period(trained), 1),
        )

    def learning_rate(self, trained: str) -> float:
        """The first step size of a network or a parameter, by its name."""
        return self.actor_learning_rate if trained == "actor" else self.critic_learning_rate

    def period(self, trained: str) -> int:
        """Updates of the run for each step of a network or a parameter, by its name."""
        return 1
