"""The import wing: finder, module proxy, wrappers and the download-layer route. Standard library only."""
