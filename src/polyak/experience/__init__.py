"""Where transitions come from, and where they are kept."""
