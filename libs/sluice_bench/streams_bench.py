"""The features stage against a Kafka Streams job, on the Java runtime that the broker has.

Its jars come as the broker's do (`jars.toml`, part `streams`); a compiler that needs no JDK is among them.
"""

import json
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from sluice_bench.bench_stack import BenchStack
from sluice_bench.copy_loop import PRINCIPAL
from sluice_bench.foreign_job import ForeignJob, JobPlace, against, payment_schema
from sluice_kit.kafka import client_config
from sluice_substrate.downloads import fetch
from sluice_substrate.errors import SubstrateError
from sluice_substrate.java import java

TARGET: Final = 0.25
_CLASS: Final = "StreamsJob"
_COMPILER: Final = "org.eclipse.jdt.internal.compiler.batch.Main"
_LANGUAGE: Final = "21"
_COMPILE_SECONDS: Final = 120.0
_HEAP_MIB: Final = 1_024
_LOGIN: Final = "org.apache.kafka.common.security.scram.ScramLoginModule"


def kafka_streams(stack: BenchStack, records: int, repetitions: int) -> dict[str, Any]:
    """Payments a second of job and stage in turn."""
    try:
        jars = fetch("streams")
    except SubstrateError as error:
        return {"skipped": str(error), "passed": None}
    classes = compiled(jars, stack.home / "streams-job")
    schema = classes / "payment.avsc"
    schema.write_text(json.dumps(payment_schema()), encoding="utf-8")

    def given(place: JobPlace) -> bytes:
        return properties(
            connection(client_config(stack.wiring, PRINCIPAL))
            | {
                "application.id": place.name,
                "processing.guarantee": "exactly_once_v2",
                "state.dir": str(place.folder),
                "replication.factor": "1",
                "input": place.input,
                "output": place.output,
                "schema": str(schema),
            }
        )

    job = ForeignJob(stack, _java(jars, str(classes), _CLASS), given)
    return against(stack, job, records, repetitions, TARGET) | {
        "kafka_streams": next(jar.stem for jar in jars if jar.name.startswith("kafka-streams-")),
        "job": "processor API, persistent stores with cache and changelog, one input partition, one thread",
        "commit": "every 100 ms, its default for exactly once",
    }


def compiled(jars: list[Path], folder: Path) -> Path:
    """The folder with the job's classes. Raises RuntimeError with what the compiler says."""
    source = str(files("sluice_bench") / f"{_CLASS}.java")
    options = ("-source", _LANGUAGE, "-target", _LANGUAGE, "-proc:none", "-nowarn", "-d", str(folder))
    command = _java(jars, "", _COMPILER, *options, "-cp", _path(jars), source)
    done = subprocess.run(command, capture_output=True, text=True, timeout=_COMPILE_SECONDS, check=False)
    if done.returncode:
        raise RuntimeError(f"{_CLASS} does not compile: {(done.stdout + done.stderr)[-500:]}")
    return folder


def connection(config: dict[str, Any]) -> dict[str, str]:
    """A Java client's settings for those of librdkafka."""
    found = {name: str(config[name]) for name in ("bootstrap.servers", "security.protocol")}
    if "sasl.username" in config:
        login = f'username="{config["sasl.username"]}" password="{config["sasl.password"]}"'
        found |= {
            "sasl.mechanism": config["sasl.mechanism"],
            "sasl.jaas.config": f"{_LOGIN} required {login};",
        }
    return found


def properties(values: dict[str, str]) -> bytes:
    """A Java properties file."""
    lines = (f"{name}={value.replace(chr(92), chr(92) * 2)}" for name, value in values.items())
    return "\n".join(lines).encode()


def _java(jars: list[Path], classes: str, main: str, *arguments: str) -> list[str]:
    path = f"{classes}:{_path(jars)}" if classes else _path(jars)
    return java(
        mark="-Dsluice.bench=streams",
        arguments=("-cp", path, main, *arguments),
        heap_mib=_HEAP_MIB,
        start_heap_mib=_HEAP_MIB // 4,
    )


def _path(jars: list[Path]) -> str:
    return ":".join(map(str, jars))
