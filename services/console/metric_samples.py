"""What the console takes out of the services' metrics. Pure."""

from collections.abc import Iterable
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from services.console.rates import Counter

_PRODUCED: Final = "sluice_events_produced_total"
_LAG: Final = "sluice_lag_records"


def samples(texts: Iterable[str]) -> tuple[dict[Counter, float], dict[tuple[str, str], int]]:
    """Records written by service, shard and topic, and lag by service and topic, of some expositions.

    A text that cannot be read counts for nothing.
    """
    written: dict[Counter, float] = {}
    lag: dict[tuple[str, str], int] = {}
    for text in texts:
        try:
            families = list(text_string_to_metric_families(text))
        except ValueError:
            continue
        for sample in (sample for family in families for sample in family.samples):
            labels = sample.labels
            if sample.name == _PRODUCED:
                written[labels["service"], labels["shard"], labels["topic"]] = sample.value
            elif sample.name == _LAG:
                place = labels["service"], labels["topic"]
                lag[place] = lag.get(place, 0) + int(sample.value)
    return written, lag
