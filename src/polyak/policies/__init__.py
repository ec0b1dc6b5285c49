"""What a policy is, and what is done with one: acting, evaluating, recording."""
