"""The broker's configuration: one KRaft node, SASL on every listener, deny by default, sized for a laptop."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sluice_substrate.ports import LOOPBACK

BROKER = "broker"
"""Principal of the broker itself: super user, password known to nobody else."""
ADMIN = "admin"
"""Principal of operators: super user, for topics, ACLs and users."""

HEAP_MIB = 768
START_HEAP_MIB = 256
YOUNG_HEAP_MIB = 160


@dataclass(frozen=True, slots=True)
class BrokerPorts:
    """Loopback ports: `client` for everybody, `controller` for the broker's talk with itself."""

    client: int
    controller: int


def server_properties(
    data: Path, ports: BrokerPorts, broker_password: str, *, listen_on: str = LOOPBACK
) -> str:
    """Text of server.properties; clients are told to come to the loopback, whatever it listens on.

    Both listeners authenticate. The controller's is SASL/PLAIN with one user, the broker: SCRAM cannot
    guard it, because its credentials live in the very log that the controller has yet to load.
    """
    scram = "org.apache.kafka.common.security.scram.ScramLoginModule"
    plain = "org.apache.kafka.common.security.plain.PlainLoginModule"
    who = f'username="{BROKER}" password="{broker_password}"'
    settings: Mapping[str, object] = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{LOOPBACK}:{ports.controller}",
        "listeners": f"CLIENT://{listen_on}:{ports.client},CONTROLLER://{LOOPBACK}:{ports.controller}",
        "advertised.listeners": f"CLIENT://{LOOPBACK}:{ports.client}",
        "listener.security.protocol.map": "CLIENT:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "CLIENT",
        "sasl.enabled.mechanisms": "SCRAM-SHA-256",
        "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-256",
        "sasl.mechanism.controller.protocol": "PLAIN",
        "listener.name.client.sasl.enabled.mechanisms": "SCRAM-SHA-256",
        "listener.name.client.scram-sha-256.sasl.jaas.config": f"{scram} required {who};",
        "listener.name.controller.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.controller.plain.sasl.jaas.config": (
            f'{plain} required {who} user_{BROKER}="{broker_password}";'
        ),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:{ADMIN};User:{BROKER}",
        "allow.everyone.if.no.acl.found": "false",
        "auto.create.topics.enable": "false",
        "log.dirs": data,
        # one node: nothing can be replicated
        "default.replication.factor": 1,
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        # 50 partitions each by default: a laptop has a handful of groups and transactional ids
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.num.partitions": 1,
        "num.partitions": 1,
        "group.initial.rebalance.delay.ms": 0,
        # after a kill the next incarnation must wait until the last one's session is over (9 s by default)
        "broker.session.timeout.ms": 3_000,
        "broker.heartbeat.interval.ms": 500,
        # a killed process must not hold the last stable offset longer than its own timeout (+ 1 s)
        "transaction.max.timeout.ms": 60_000,
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1_000,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "background.threads": 2,
        "num.recovery.threads.per.data.dir": 2,
        "log.cleaner.threads": 1,
        "log.cleaner.dedupe.buffer.size": 16_777_216,
        "log.index.size.max.bytes": 2_097_152,
        "log.segment.bytes": 268_435_456,
        "message.max.bytes": 2_097_152,
        "controlled.shutdown.max.retries": 1,
    }
    return "".join(f"{key}={value}\n" for key, value in settings.items())


LOG4J = """\
Configuration:
  status: error
  Appenders:
    Console:
      name: out
      PatternLayout:
        pattern: "%d{ISO8601} %p %c{1}: %m%n"
  Loggers:
    Root:
      level: WARN
      AppenderRef: {ref: out}
    Logger:
      - {name: kafka.server.KafkaRaftServer, level: INFO}
      - {name: org.apache.kafka.common.utils.AppInfoParser, level: "OFF"}
"""
"""log4j 2 configuration: warnings, and the lines that say that the broker started or stopped."""
