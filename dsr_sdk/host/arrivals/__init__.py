"""How requests come in: the public form, an agent's own entry, files."""
