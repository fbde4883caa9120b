"""`python -m memos_ray.cli`: the command without its console script."""

from memos_ray.cli.main import main

main()
