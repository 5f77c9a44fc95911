"""Faults at random, clients of every kind, and what must be true of them all the same."""
