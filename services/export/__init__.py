"""Results of campaigns for other programs.

hiscores.py   JSON, SLHA, the reference project's .dict, CSV
"""
