"""Every crash point: the process is killed at each one, and the same command again must finish the work.

`python -m proof` in the folder `tests`; docs/proof.md says what is proven.
"""
