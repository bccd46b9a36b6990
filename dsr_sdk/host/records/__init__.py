"""What stays of a case: its history, its record, and for how long."""
