"""How long adds and searches take, and how much memory they hold: see `__main__`."""
