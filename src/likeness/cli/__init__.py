"""The `likeness` command: one short file a verb, no logic of its own."""
