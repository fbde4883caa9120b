"""Questions that lean on the turns before them, and what rewriting them finds."""
