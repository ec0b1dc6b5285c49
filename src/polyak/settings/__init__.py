"""What a run and its algorithm are set to: the kinds of values, each option once, and what is in force."""
