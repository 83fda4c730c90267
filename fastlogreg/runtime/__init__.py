"""Threads and versions of what runs here."""
