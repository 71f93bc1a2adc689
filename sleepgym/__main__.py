"""``python -m sleepgym``."""

from sleepgym.cli import main

main()
