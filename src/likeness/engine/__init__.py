"""Training of any method: loop, run directory, checkpoints, logs, devices and processes."""
