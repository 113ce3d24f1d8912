"""Stand in for a mixin that the sdist leaves out; the model mixin inherits from it."""


class ExportTesterMixin:
    """No tests of export."""
