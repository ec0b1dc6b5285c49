"""Copies of a run elsewhere, in a folder or at a URL: sent while it trains, fetched to go on; one attempt at a time."""
