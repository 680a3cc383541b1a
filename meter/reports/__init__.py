"""Floor 3: the read side. Questions about requests, calls and records, and their answers."""
