"""Write the ledger's rows to files that other programs read: one file a format.

`tables` says what the rows are, `formats` which writer a name stands for, `exporting` puts both
together. Called by the façade.
"""
