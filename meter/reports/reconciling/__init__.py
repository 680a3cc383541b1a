"""Hold our ledger against an issuer's bill, and say why they differ.

bill.py        what a bill says, whoever sent it
openai_bill.py, anthropic_bill.py, csv_bill.py, balance.py      one file a form of bill
fetching.py    the same, asked for with an admin key
recorded.py    what we recorded, cut as the bill is cut
clocks.py      whether their clock runs as ours
comparing.py   the order of one reconciliation: read this first
explaining.py  the reason of each difference
"""
