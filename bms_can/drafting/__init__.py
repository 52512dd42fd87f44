"""A first draft of a profile from a DBC and, where there is one, a log. Guesses, with reasons.

vocabulary.py   which words in names, comments and units point to which role
guess.py        signals -> candidates for each role, with score and reasons
support.py      what the values in a log say for or against a guess
draft.py        candidates -> the commented text of a profile
"""
