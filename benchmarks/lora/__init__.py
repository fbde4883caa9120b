"""What it takes to teach memories to a model, and what it then knows."""
