"""The pin wing: model@revision -> pin -> verified files in the hub cache. Knows nothing of import hooks."""
