"""The command `trio-driver`: the plugin for agents, a set of commands for people.

Rules:
- Nothing but `main` is imported before it is known who started the program: an agent waits for the
  plugin, and what only people need (click, rich, hcl2) takes its time to import.
"""
