"""What may go wrong with features and is not an expected outcome."""


class FeatureError(Exception):
    """A caller broke a contract, or sealed state cannot be read."""
