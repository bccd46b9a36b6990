"""What must never be lost: cases, plans, tasks and the audit log, with personal data sealed under a key of each case."""
