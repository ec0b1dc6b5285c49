"""One run: planned, started, gone on with; its loop, its folder, its checkpoints."""
