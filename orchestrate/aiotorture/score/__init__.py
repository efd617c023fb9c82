"""Planted-bug score: each mutant is given to the default search, until it is found or the time is up.

planted (which mutants) -> search (in which order, for how long) -> trials (kept) -> table (shown);
workers runs them side by side, repeats replays what was found, alone asks what one oracle is for.
"""
