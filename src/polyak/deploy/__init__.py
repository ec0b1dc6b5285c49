"""Trained policies where they are used."""
