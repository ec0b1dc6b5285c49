"""What may have been meant by an unknown name: what polyak calls a thing of another library, or the nearest word.

One table answers for Python and for the command line, in settings, options and commands alike.
"""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

NEAR, NEAR_IF_SHORT = 0.75, 0.66
"""How alike two words are, from 0 to 1, of which one may be the other misspelt; of three letters, one may differ."""
NEAR_ELSEWHERE = 0.85
"""The same of names from elsewhere, which are many and none of which is there: only what is surely one of them."""
SHORT = 4
"""Letters of a short word at most."""


@dataclass(frozen=True)
class Ours:
    """What polyak has for a name from elsewhere."""

    names: tuple[str, ...]
    """Its own names for it, of which those are told that there are in the place; none: it has no such thing."""
    note: str = ""
    """What else is to be known, as the sentence goes on; the whole of it where there are no names."""


def _ours(names: str, note: str = "") -> Ours:
    return Ours(tuple(names.split()), note)


_TABLE = {
    # Steps and their rhythm
    "total_timesteps timesteps n_timesteps num_timesteps max_timesteps total_steps max_steps num_env_steps": _ours(
        "steps"
    ),
    "epochs n_epochs num_epochs": _ours("steps", ", which counts all of them: epochs times steps_per_epoch"),
    "learning_starts learning_start": _ours(
        "update_after start_steps",
        ": no gradient step, and uniform actions only, before that many steps",
    ),
    "start_timesteps warmup_steps random_steps init_steps initial_steps": _ours(
        "start_steps update_after", ": uniform actions only, and no gradient step, before that many steps"
    ),
    "train_freq train_frequency update_freq update_frequency": _ours(
        "update_every", ", the steps between bursts; updates_per_step says how many updates there are for each step"
    ),
    "gradient_steps n_gradient_steps num_updates utd utd_ratio replay_ratio": _ours(
        "updates_per_step", ", counted for each environment step and not for each burst"
    ),
    "eval_freq eval_frequency eval_interval eval_every evaluation_interval": _ours(
        "steps_per_epoch", ": an evaluation ends each epoch"
    ),
    "n_eval_episodes num_eval_episodes eval_episodes num_test_episodes n_episodes num_episodes": _ours(
        "evaluation_episodes episodes"
    ),
    "max_ep_len max_episode_length max_path_length episode_length time_limit": _ours("max_episode_steps"),
    "frame_skip frameskip num_repeat": _ours(
        "action_repeat", "; where the environment's constructor has a frame_skip, environment_settings gives it that"
    ),
    "save_freq save_interval save_frequency checkpoint_freq checkpoint_frequency": _ours("checkpoint_every"),
    # Values and replay
    "gamma discount_factor": _ours("discount"),
    "tau rho soft_update_tau": _ours("polyak", ", which is 1 - tau: tau 0.005 is polyak 0.995"),
    "target_update_interval target_network_frequency target_update_freq": Ours(
        (), "polyak's targets move with every update of the networks that they follow, by the setting polyak = 1 - tau"
    ),
    "buffer_size buffer_length memory_size replay_buffer_size replay_capacity capacity": _ours("replay_size"),
    "batch minibatch_size mini_batch_size train_batch_size": _ours("batch_size"),
    "n_steps nstep multi_step n_step_returns": _ours("n_step"),
    "her use_her hindsight_replay": _ours("hindsight"),
    "n_sampled_goal n_sampled_goals replay_k": _ours("hindsight_goals", ", of hindsight_goals + 1 transitions"),
    "goal_selection_strategy": Ours(
        (), "polyak's hindsight takes goals that were achieved later in an episode: future"
    ),
    "prioritized_replay prioritized_replay_buffer prioritised per lap use_per prb": _ours(
        "prioritized", ": proportional is PER, lap is LAP"
    ),
    "priority_alpha per_alpha prioritized_replay_alpha alpha_per": _ours("priority_exponent"),
    "priority_beta per_beta prioritized_replay_beta0 prioritized_replay_beta beta_start": _ours("priority_correction"),
    "replay_buffer_class replay_buffer_kwargs": Ours(
        (), "polyak's replay has no classes: n_step, prioritized and hindsight say how it is drawn from"
    ),
    "optimize_memory_usage": Ours((), "polyak stores a transition once, and has no other way"),
    "handle_timeout_termination": Ours((), "polyak never takes a time limit for a termination"),
    "dataset_id minari_dataset offline_dataset demo_path expert_data demos prior_data": _ours("demonstrations"),
    "demo_ratio offline_ratio prior_fraction": _ours("demonstration_fraction", ", of each batch"),
    "offline_steps n_offline_steps pretrain_steps": _ours("offline_updates", ", with steps 0"),
    # Optimization and networks
    "learning_rate learning_rates lr step_size": _ours(
        "actor_learning_rate critic_learning_rate alpha_learning_rate", ", one for each"
    ),
    "actor_lr lr_actor policy_lr pi_lr policy_learning_rate": _ours("actor_learning_rate"),
    "critic_lr lr_critic q_lr qf_lr q_learning_rate value_lr": _ours("critic_learning_rate"),
    "alpha_lr ent_coef_lr temp_lr temperature_lr entropy_lr": _ours("alpha_learning_rate"),
    "lr_schedule lr_scheduler anneal_lr learning_rate_scheduler": _ours("learning_rate_schedule"),
    "optimizer optimizer_class optimizer_kwargs": _ours(
        "adam_beta_1 adam_beta_2 weight_decay", ": its optimizer is Adam, with decoupled weight decay"
    ),
    "max_grad_norm grad_clip gradient_clip clip_grad": Ours((), "polyak does not clip gradients"),
    "critic_hidden_dims critic_net_arch qf_hidden_sizes": _ours("critic_hidden_sizes"),
    "net_arch hid hidden_dim hidden_dims hidden_size hidden_units hidden_layers layer_sizes layers": _ours(
        "hidden_sizes"
    ),
    "policy_kwargs ac_kwargs actor_kwargs critic_kwargs": _ours(
        "hidden_sizes activation network", ": net_arch is the first, activation_fn the second"
    ),
    "activation_fn nonlinearity": _ours("activation"),
    "layer_norm use_layer_norm": _ours("network", ", one of whose kinds is layer_norm"),
    "simba use_simba residual": _ours("network", ", one of whose kinds is simba"),
    "num_blocks n_blocks residual_blocks": _ours(
        "hidden_sizes critic_hidden_sizes", ": network simba has a block for each width"
    ),
    "log_std log_std_min log_std_max log_std_bounds": _ours(
        "log_sigma", ", which is clip, to [-20, 2], or tanh, to [-10, 2]"
    ),
    "policy policy_class actor_critic": _ours("network hidden_sizes activation", ", which make actor and critics"),
    "n_critics num_critics n_nets num_qvalue_nets num_qs ensemble_size num_ensemble": _ours(
        "critics", ", where an algorithm has an ensemble of them"
    ),
    "n_quantiles num_quantiles n_atoms": _ours("quantiles", ", of each critic"),
    "top_quantiles_to_drop_per_net n_dropped": _ours("dropped_quantiles", ", of the pooled ones, for each critic"),
    "num_subsample_critics num_min_qs subset_size num_min": _ours("subset", ", whose targets' minimum counts"),
    "dropout_rate critic_dropout_rate q_dropout droprate": _ours("dropout", ", of the critics' hidden units"),
    "features_extractor_class features_extractor_kwargs": Ours((), "polyak takes vectors and no pixels"),
    # Exploration and what is the algorithms' own
    "ent_coef": _ours(
        "alpha learn_alpha",
        ": 'auto' is learn_alpha with alpha as the first value, a number is alpha without learn_alpha",
    ),
    "entropy_coef temperature init_temperature initial_temperature init_alpha": _ours("alpha"),
    "autotune auto_alpha auto_entropy_tuning automatic_entropy_tuning": _ours("learn_alpha"),
    "policy_frequency policy_freq policy_update_frequency policy_update_freq actor_update_freq actor_delay": _ours(
        "policy_delay"
    ),
    "target_policy_noise policy_noise smoothing_noise": _ours(
        "target_noise", ", as a fraction of the action's half-range"
    ),
    "noise_clip": _ours("target_noise_clip", ", as a fraction of the action's half-range"),
    "action_noise act_noise expl_noise action_noise_std noise_std noise_type": _ours(
        "exploration_noise",
        ", as a fraction of the action's half-range; exploration_correlation makes it Ornstein-Uhlenbeck",
    ),
    "std_min std_max": _ours("exploration_spread", ", LOW and HIGH, between which each environment has a deviation"),
    "use_sde sde_sample_freq use_sde_at_warmup": Ours(
        (),
        "polyak has no state-dependent exploration; its noise may be held for some steps, by exploration_hold, or "
        "correlated, by exploration_correlation",
    ),
    # Environments
    "env env_id env_name gym_id": _ours("environment"),
    "env_fn make_env": _ours("environment", ", which may be a callable"),
    "algo": _ours("algorithm"),
    "n_envs num_envs": _ours("envs"),
    "wrapper_class env_wrapper": _ours("wrappers"),
    "vec_env vec_env_cls vec_env_type": _ours("vectorization"),
    "eval_env": _ours("evaluate_in", ": another environment for evaluation is made by itself"),
    "env_kwargs environment_kwargs": _ours("environment_settings"),
    "normalize vec_normalize normalize_env": _ours("normalize_observations normalize_rewards"),
    "norm_obs obs_norm normalize_obs normalize_observation obs_normalization": _ours("normalize_observations"),
    "norm_reward normalize_reward": _ours("normalize_rewards"),
    "reward_scale reward_scaling": _ours(
        "normalize_rewards", ", by their own spread; a wrapper of the environment scales by a constant"
    ),
    "clip_obs clip_reward": Ours((), "with normalize_observations, networks see no more than 10 standard deviations"),
    # Commands
    "enjoy play test": _ours("watch record evaluate"),
    "plot plot_train plot_results": _ours("report"),
    "optimize optimize_hyperparameters hyperopt search hpo optuna": _ours("tune"),
    "onnx to_onnx torchscript deploy": _ours("export"),
    # A search
    "n_trials num_trials max_trials max_total_trials": _ours("trials", ", which counts those of the whole study"),
    "n_jobs num_workers": _ours("jobs"),
    "study_name": _ours("study"),
    "n_startup_trials n_evaluations n_warmup_steps n_min_trials": Ours(
        (), "`polyak tune` draws ten trials at random, and prunes from the sixth and a third of the steps on"
    ),
    # The run
    "tensorboard_log tb_log_name log_dir logdir log_folder log_path logger_kwargs exp_name "
    "save_path save_dir out output output_dir out_dir outdir": _ours(
        "run_dir", ": TensorBoard's events are always in the run's folder below it"
    ),
    "verbose progress_bar log_interval": _ours("progress plain"),
    "use_wandb wandb wandb_project_name wandb_entity": _ours(
        "track", ", as wandb; project and entity are in the variables that W&B has for them"
    ),
    "capture_video record_video render": Ours(
        (), "`polyak watch RUN` shows a trained policy, `polyak record RUN` makes a video"
    ),
    "save_model save_replay_buffer": Ours((), "polyak always saves policy and checkpoints, in the run's folder"),
    "pretrained trained_agent load_path": _ours("from_run", "; `polyak resume RUN` goes on with the run itself"),
    "reset_num_timesteps": Ours((), "`polyak resume RUN --steps N` goes on counting"),
    "cuda use_cuda gpu": _ours("device", ", which is auto, cpu or cuda"),
    "n_cpu num_threads n_threads": _ours("threads"),
    "random_seed manual_seed": _ours("seed"),
    "torch_deterministic": Ours((), "polyak is always deterministic"),
    "reward_threshold target_reward": _ours("stop_at_return"),
    "hyperparams hyperparameters conf_file": _ours(
        "preset", ", which may be a TOML file; or give each by its own name"
    ),
}
"""Names of Stable-Baselines3, SBX, the RL Zoo, CleanRL, Spinning Up and of the papers' own code, and what they are."""

ELSEWHERE = {name: ours for names, ours in _TABLE.items() for name in names.split()}
"""The same, a name each."""

OWN = {name for ours in _TABLE.values() for name in ours.names}
"""polyak's names for them, which are its own wherever they are asked for."""

ALGORITHMS = {
    **dict.fromkeys(("ppo", "a2c", "trpo", "reinforce"), "polyak's are off-policy"),
    **dict.fromkeys(("dqn", "rainbow", "c51", "qrdqn"), "polyak's are for continuous actions"),
    **dict.fromkeys(("td7", "mpo"), "it is not among them yet"),
}
"""What is said of algorithms that others have."""


def nearest(word: str, known: Iterable[str], alike: float | None = None) -> str | None:
    """Which of the known words is so near, or alone begins so, that it may have been meant; None where none is.

    `alike` is how alike they have to be, from 0 to 1; by default what is near for a word of that length.
    """
    names = list(known)
    cutoff = alike or (NEAR_IF_SHORT if len(word) <= SHORT else NEAR)
    near = difflib.get_close_matches(word, names, n=1, cutoff=cutoff)
    longer = [name for name in names if len(word) >= SHORT and name.startswith(word)]
    return near[0] if near else longer[0] if len(longer) == 1 else None


def hint(name: str, known: Iterable[str], who: str, spelt: Callable[[str], str] = str) -> str:
    """What is said of an unknown name: polyak's own name for it, or what is near; empty where nothing is.

    Args:
        name: as it was given, with underscores or hyphens.
        known: the names that there are, with underscores.
        who: what was asked: an algorithm, a command or a function.
        spelt: how a name is written there, as `--batch-size` on the command line.
    """
    name, known = name.replace("-", "_").lower(), list(known)
    if name not in ELSEWHERE:
        near = nearest(name, known)
        if near is not None:
            return f"did you mean {spelt(near)!r}?"
    ours = None if name in OWN else ELSEWHERE.get(nearest(name, ELSEWHERE, NEAR_ELSEWHERE) or "")
    if ours is None:
        return ""
    if not ours.names:
        return ours.note
    here = [each for each in ours.names if each in known]
    told = f"polyak calls it {_listed([spelt(each) for each in here or ours.names])}"
    return f"{told}{ours.note}" if here else f"{told}, which {who} does not take"


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
