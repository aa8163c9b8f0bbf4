"""What the commands besides `convert` and `run` do, without their words."""
