"""The commands that live in the core, one module a command. Each parses, imports what it needs, and runs."""
