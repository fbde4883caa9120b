"""Who may do what: the authority, and the guards that judge by its snapshots."""
