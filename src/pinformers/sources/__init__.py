"""The open set: where blocks come from. A source yields bytes and is never trusted."""
