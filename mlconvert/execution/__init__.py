"""Running a plan: child processes, the cache, the outputs and the steps of each target."""
