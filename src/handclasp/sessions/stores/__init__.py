"""Stores that several machines share. Each needs its client library; none is imported unless asked for."""
