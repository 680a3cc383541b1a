"""The tests of the wrappers: real clients, real sockets, a ledger in memory."""
