"""Makes the manual pages and the completions that stand in the repository: `python -m manuals` (`make manuals`)."""
