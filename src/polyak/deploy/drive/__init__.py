"""A control loop with a deadline: one step each period, whatever the policy, the environment or a learner takes."""
