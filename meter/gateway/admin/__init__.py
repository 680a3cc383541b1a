"""The admin API under /meter/v1/: keys, budgets, usage and calls for the operator's own tools.

`operations` has every operation with its types; serving and the OpenAPI document follow from it.
"""
