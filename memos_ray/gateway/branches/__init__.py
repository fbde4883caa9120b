"""What-if branches of a namespace."""
