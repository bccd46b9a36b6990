"""The stages of cases: who may take which step, when a case is due, what an agent sees of it."""
