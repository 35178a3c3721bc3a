"""The command `igbot`: one file a command group; each imports what it needs when it runs."""
