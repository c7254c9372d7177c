from prometheus_client import REGISTRY, generate_latest

from sluice_kit.telemetry import MetricFamilies, metrics


def test_two_services_of_a_chain_share_a_registry_but_not_their_series() -> None:
    families = MetricFamilies()
    gate, meter = families.service("ingestion_gate"), families.service("flow_meter", "1")
    gate.consumed("ingress.edge").inc(3)
    gate.quarantined("RUN_NOT_READY").inc()
    meter.consumed("traffic.payment").inc(2)
    meter.lag_records("traffic.payment", 2).set(7)
    gate.commit_seconds.observe(0.017)
    text = generate_latest(families.registry).decode()
    assert 'sluice_events_consumed_total{service="ingestion_gate",shard="0",topic="ingress.edge"} 3.0' in text
    assert (
        'sluice_events_quarantined_total{reason="RUN_NOT_READY",service="ingestion_gate",shard="0"} 1.0'
        in text
    )
    assert (
        'sluice_lag_records{partition="2",service="flow_meter",shard="1",topic="traffic.payment"} 7.0' in text
    )
    assert 'sluice_commit_seconds_bucket{le="0.025",service="ingestion_gate",shard="0"} 1.0' in text


def test_every_shared_name_is_exported_and_none_is_global() -> None:
    families = MetricFamilies()
    exported = {
        sample for family in families.registry.collect() for sample in (family.name, f"{family.name}_total")
    }
    names = {value for name, value in vars(metrics).items() if name.isupper() and not name.startswith("_")}
    assert names <= exported
    assert not any(family.name.startswith("sluice_") for family in REGISTRY.collect())
