"""Pure decisions: no Ray, no I/O, no wall clock, no randomness."""
