"""The endpoints that Voyage defined, beside those it shares with others."""
