"""The serving wing: a read-only trustless gateway over verified blocks."""
