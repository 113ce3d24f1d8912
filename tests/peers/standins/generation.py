"""Stand in for a mixin that the sdist leaves out; the model mixin asks whether it was inherited."""


class GenerationTesterMixin:
    """No tests of generation."""
