"""The cluster that `memos-ray up` runs."""
