"""How memories age, rest, come back, and branch."""
