"""Floor 0: the pure core. No I/O, no clock, no environment, no third-party import.

Read in this order: `money`, `units`, `usage`, `call`, `rates`, `rating`, `estimating`,
`settlement`, `windows`, `budgets`, `ledger`, `ports`.
"""
