"""In place of the package `flows`: the same steps in the same order, in a process without Prefect.

The command line runs as it is and imports these. A test compares the points that both pass.
"""
