"""Below everything: files, locks, signals, threads, time and random streams; knows nothing of learning."""
