"""Many runs: side by side in processes, or together in one."""
