"""What people are written: replies and their templates, the conversation, the outbox, links for people without an account."""
