"""Critics: judge whether a model contradicts published limits. They judge; the walk acts.

verdict.py       what a critic says
settings.py      which critics are asked, their thresholds
upper_limit.py   critics that compare cross sections with limits (v1: caps μ; v2: counts and vetoes)
likelihood.py    critic that tests the most sensitive combination of likelihoods (v2)
panel.py         the joint verdict, cheapest critic first
"""
