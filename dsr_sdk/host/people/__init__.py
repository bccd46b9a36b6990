"""Agents: accounts, roles, sessions, second factors, keys of the API."""
