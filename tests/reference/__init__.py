"""An oracle in plain NumPy, float64, written from the specification's equations with hand-derived gradients.

`common`, `ddpg`, `td3` and `sac` are the mathematics; `cases` makes problems, solves them and compares learners with
the solutions; `broken_jax` holds the mistakes that the comparison has to see.
"""
