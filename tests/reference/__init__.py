"""An oracle in plain NumPy, float64, written from the specification's equations with hand-derived gradients.

`common`, `ddpg`, `td3`, `sac` are the mathematics; `cases` makes problems, solves them and compares any learner with the solution.
"""
