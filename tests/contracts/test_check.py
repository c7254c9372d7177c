"""``sluice contracts check`` and ``diff`` on a copy of the contracts that is broken in one way at a time."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from sluice_cli.contracts_commands import contracts_app
from sluice_contracts import CONTRACTS, TOPICS
from sluice_contracts_codegen.checking import find_problems
from sluice_contracts_codegen.generate import write
from sluice_contracts_codegen.history import changes_since, merge_base
from sluice_contracts_codegen.model import load_contracts
from sluice_contracts_codegen.repository import REPOSITORY


def git(repository: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", "-C", str(repository), *identity, *arguments], check=True, capture_output=True
    )
    return done.stdout.decode()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A repository with nothing but the contracts and what is made from them, committed."""
    for name in ("contracts", "docs", "helm"):
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "as it was")
    return tmp_path


def edit(path: Path, change: Callable[[Any], None]) -> None:
    if path.suffix == ".yaml":
        content = yaml.safe_load(path.read_text())
        change(content)
        path.write_text(yaml.safe_dump(content, sort_keys=False))
    else:
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def schema(copy: Path, key: str = "payment.v1") -> Path:
    return copy / "contracts" / "schemas" / f"{key}.avsc"


def payload(content: Any) -> list[dict[str, Any]]:
    fields: list[dict[str, Any]] = content["fields"][-1]["type"]["fields"]
    return fields


def messages(copy: Path, base: str | None = None) -> str:
    return "\n".join(f"{problem.check}: {problem.message}" for problem in find_problems(copy, base))


def next_version(copy: Path, change: Callable[[Any], None], event_type: str = "payment") -> None:
    """Add version 2 as an engineer would: copy the file, raise the number, change the payload."""
    shutil.copy(schema(copy, f"{event_type}.v1"), schema(copy, f"{event_type}.v2"))

    def raised(content: Any) -> None:
        content["sluice"]["version"] = 2
        change(content)

    edit(schema(copy, f"{event_type}.v2"), raised)


def test_the_contracts_of_this_repository_are_in_order() -> None:
    assert find_problems(REPOSITORY) == []


def test_the_copy_is_in_order_and_has_not_changed(copy: Path) -> None:
    assert messages(copy) == ""
    assert changes_since(copy, merge_base(copy), load_contracts(copy / "contracts")) == []


def test_a_stale_generated_file_is_named(copy: Path) -> None:
    (copy / "docs" / "asyncapi.yaml").write_text("old")
    (copy / "contracts/sluice_contracts/generated/codecs.py").unlink()
    found = messages(copy)
    assert (
        "stale: docs/asyncapi.yaml is not what contracts/ gives; run: sluice contracts docs --write" in found
    )
    assert "stale: contracts/sluice_contracts/generated/codecs.py" in found
    assert sorted(map(str, write(copy))) == [
        "contracts/sluice_contracts/generated/codecs.py",
        "docs/asyncapi.yaml",
    ]
    assert messages(copy) == ""


def test_documentation_may_change_and_makes_the_pages_stale_only(copy: Path) -> None:
    edit(schema(copy), lambda content: content.update(doc="Other words."))
    assert {line.partition(":")[0] for line in messages(copy).splitlines()} == {"stale"}
    write(copy)
    assert messages(copy) == ""
    (change,) = changes_since(copy, "HEAD", load_contracts(copy / "contracts"))
    assert (change.what, change.breaking) == ("schemas/payment.v1.avsc", False)


def test_a_locked_version_never_changes_on_the_wire(copy: Path) -> None:
    edit(schema(copy), lambda content: payload(content).pop())
    write(copy)
    found = messages(copy)
    assert "lock: schemas/payment.v1.avsc changed on the wire after its id 6 was locked" in found
    assert "add the next version as a new file" in found
    assert "history: schemas/payment.v1.avsc: changed on the wire" in found


def test_an_id_never_changes_and_is_never_shared(copy: Path) -> None:
    lock = copy / "contracts" / "ids.lock.json"
    edit(lock, lambda content: content["payment.v1"].update(id=99))
    assert "history: ids.lock.json: payment.v1 had id 6, now 99; ids never change" in messages(copy)
    edit(lock, lambda content: content["payment.v1"].update(id=1))
    assert "both have id 1; ids are never shared" in messages(copy)
    edit(lock, lambda content: content.pop("payment.v1"))
    assert "lock: ids.lock.json: payment.v1 has no id" in messages(copy)


def test_a_version_never_disappears(copy: Path) -> None:
    schema(copy, "run_closed.v1").unlink()
    found = messages(copy)
    assert (
        "lock: ids.lock.json: run_closed.v1 is locked but schemas/run_closed.v1.avsc is gone; bring it back"
        in found
    )
    assert (
        "topics: topics/control.run.yaml: event type run_closed version 1 has no schemas/run_closed.v1.avsc"
        in found
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda content: payload(content).append({"name": "tip_minor", "type": "long", "doc": "A tip."}),
            "payment.v1 at payload.tip_minor: tip_minor (a new field needs a default",
        ),
        (
            lambda content: payload(content)[3].update(type="string"),
            "at payload.amount_minor: reader type: string not compatible with writer type: long (the type",
        ),
        (
            lambda content: content["fields"][-1]["type"].update(name="PurchasePayload"),
            "(a record keeps its full name in every version)",
        ),
        (
            lambda content: payload(content)[5].update(type="string", default="none"),
            "at payload.account_id: reader type: string not compatible with writer type: null (a",
        ),
    ],
    ids=["new field without default", "other type", "other name", "no longer nullable"],
)
def test_a_new_version_must_read_the_old_bytes(
    copy: Path, change: Callable[[Any], None], reason: str
) -> None:
    next_version(copy, change)
    write(copy)
    assert "compatibility: payment.v2 cannot read bytes of payment.v1 at " in messages(copy)
    assert reason in messages(copy)


def test_a_compatible_version_gets_the_next_id(copy: Path) -> None:
    tip = {"name": "tip_minor", "type": ["null", "long"], "doc": "A tip.", "default": None}
    next_version(copy, lambda content: payload(content).append(tip))
    assert "lock: ids.lock.json: payment.v2 has no id; run the generator" in messages(copy)
    write(copy)
    lock = json.loads((copy / "contracts" / "ids.lock.json").read_text())
    assert lock["payment.v2"]["id"] == max(entry["id"] for entry in lock.values()) == len(lock)
    assert lock["payment.v2"]["subject"] == lock["payment.v1"]["subject"]
    assert {line.split(":")[0] for line in messages(copy).splitlines()} == {
        "examples"
    }  # recorded by the next step
    changes = changes_since(copy, "HEAD", load_contracts(copy / "contracts"))
    assert [(change.what, change.how, change.breaking) for change in changes] == [
        ("schemas/payment.v2.avsc", "added", False)
    ]


def test_a_gap_between_versions_is_refused(copy: Path) -> None:
    next_version(copy, lambda content: None)
    schema(copy, "payment.v2").rename(schema(copy, "payment.v3"))
    edit(schema(copy, "payment.v3"), lambda content: content["sluice"].update(version=3))
    assert "compatibility: payment: versions [1, 3] are not 1 to 2 without a gap" in messages(copy)


def test_rewritten_or_lost_examples_are_named(copy: Path) -> None:
    folder = copy / "contracts" / "examples" / "payment.v1"
    (folder / "full.bin").write_bytes((folder / "minimal.bin").read_bytes())
    (folder / "edges.bin").write_bytes(b"\x00\x00\x00\x00\x06")
    (folder / "minimal.bin").unlink()
    found = messages(copy)
    assert "examples: examples/payment.v1/full.bin decodes to other fields than full.json has" in found
    assert "examples: examples/payment.v1/edges.bin no longer decodes: TRUNCATED" in found
    assert "examples: examples/payment.v1/minimal.bin is not recorded" in found
    assert "history: examples/payment.v1/full.bin: rewritten; recorded examples stay as they are" in found
    assert "history: examples/payment.v1/minimal.bin: removed; recorded examples stay" in found


@pytest.mark.parametrize("missing", ["namespace", "name", "fields"])
def test_a_record_that_is_not_whole_is_named(copy: Path, missing: str) -> None:
    edit(schema(copy), lambda content: content["fields"][-1]["type"].pop(missing))
    named = "?" if missing == "name" else "PaymentPayload"
    assert messages(copy) == f"source: payment.v1.avsc: record {named} has no {missing}"


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("traffic.payment", {"producers": ["flow_meter"]}, "only ingestion_gate writes the event bus"),
        ("traffic.payment", {"consumers": ["nobody"]}, "principal 'nobody' is not in principals.yaml"),
        (
            "traffic.payment",
            {"event_types": {"refund": [1]}},
            "event type refund version 1 has no schemas/refund.v1.avsc",
        ),
        (
            "traffic.payment",
            {"event_types": {"payment": [7]}},
            "payment version 7 has no schemas/payment.v7.avsc",
        ),
        (
            "traffic.payment",
            {"event_types": {"receipt": [1]}},
            "receipt already has its home on audit.receipt",
        ),
        (
            "traffic.payment",
            {"partition_key": "payload.nothing"},
            "partition_key payload.nothing is not a field",
        ),
        ("traffic.payment", {"retention_ms": 5}, "facts and basis are kept for ever"),
        ("traffic.payment", {"max_message_bytes": 1000}, "max_message_bytes must exceed the 1048576 bytes"),
        ("traffic.payment", {"partitions": "4"}, "partitions must be of type int, not str"),
        ("traffic.payment", {"color": "red"}, "color is not a field of a topic"),
        ("traffic.payment", {"class": "control"}, "the name must start with control."),
        ("traffic.payment", {"compatibility": "NONE"}, "compatibility_reason must say why"),
        ("traffic.payment", {"examples": ["refund.v1"]}, "example 'refund.v1' is not under examples/"),
        ("basis.flow_meter", {"cleanup_policy": "compact"}, "facts and basis are kept for ever"),
        ("ingress.edge", {"producers": ["edge", "operator"]}, "a lane is written by its principal alone"),
        ("ingress.edge", {"consumers": ["operator"]}, "a lane is read by ingestion_gate"),
        ("ingress.edge", {"name": "ingress.door"}, "the file must be called after its topic"),
    ],
)
def test_a_topic_that_breaks_a_law_is_named(
    copy: Path, name: str, change: dict[str, Any], reason: str
) -> None:
    edit(copy / "contracts" / "topics" / f"{name}.yaml", lambda content: content.update(change))
    found = [line for line in messages(copy).splitlines() if line.startswith("topics: ")]
    assert any(reason in line for line in found), found


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda content: payload(content)[0].update(type="float"),
            "type 'float' is not one that contracts use",
        ),
        (lambda content: payload(content)[5].update(default="x"), "is nullable, so its default must be null"),
        (lambda content: payload(content)[0].pop("doc"), "payment_id has no doc"),
        (lambda content: payload(content)[0].update(type=["string", "null"]), "a union must be ['null', T]"),
        (
            lambda content: payload(content)[0].update(type=["null", "string", "long"]),
            "a union must be ['null', T]",
        ),
        (
            lambda content: content["sluice"].update(version=2),
            "its 'sluice' key says event_type 'payment', version 2",
        ),
        (lambda content: content["fields"].append(content["fields"].pop(0)), "and it is last"),
        (lambda content: payload(content)[0].update(sluice={"length": 3}), "unknown rules ['length']"),
        (lambda content: payload(content)[0].update(sluice={"format": "iban"}), "no format 'iban'"),
        (
            lambda content: payload(content)[0].update(
                type={
                    "type": "array",
                    "items": {"type": "record", "name": "N", "namespace": "x", "fields": []},
                }
            ),
            "array items must take at least one byte",
        ),
    ],
)
def test_a_wrong_source_is_explained(copy: Path, change: Callable[[Any], None], reason: str) -> None:
    edit(schema(copy), change)
    assert reason in messages(copy)


def test_a_format_that_a_newline_could_pass_is_refused(copy: Path) -> None:
    """Texts are checked joined by newlines, so no format may allow one."""
    formats = copy / "contracts" / "shapes" / "formats.json"
    edit(formats, lambda content: content["id"].update(pattern="[^x]{1,128}"))
    assert "format id: its pattern allows a newline" in messages(copy)
    edit(formats, lambda content: content["id"].update(pattern="[a-z]{1,128}"))
    assert "format id: its example '0' does not match" in messages(copy)


def test_unreadable_sources_are_named(copy: Path) -> None:
    schema(copy).write_text("{")
    assert "payment.v1.avsc" in messages(copy)


def test_envelope_drift_is_stale_and_then_a_broken_lock(copy: Path) -> None:
    """Nobody edits the envelope inside one schema, and the shared one never changes under a locked schema."""
    edit(schema(copy), lambda content: content["fields"].pop(1))
    assert "stale: contracts/schemas/payment.v1.avsc" in messages(copy)
    write(copy)
    assert messages(copy) == ""
    shape = copy / "contracts" / "shapes" / "envelope.v1.json"
    edit(shape, lambda content: content["fields"].pop(1))
    assert "lock: schemas/payment.v1.avsc changed on the wire" in messages(copy)


@pytest.mark.parametrize(
    ("change", "breaking"),
    [
        ({"partitions": 8}, True),
        ({"partition_key": "payload.card_id"}, True),
        ({"consumers": ["ingestion_gate"]}, True),
        ({"description": "Other words."}, False),
        ({"max_message_bytes": 2_000_000}, False),
    ],
)
def test_diff_says_which_topic_changes_break(copy: Path, change: dict[str, Any], breaking: bool) -> None:
    edit(copy / "contracts" / "topics" / "traffic.payment.yaml", lambda content: content.update(change))
    (found,) = changes_since(copy, "HEAD", load_contracts(copy / "contracts"))
    assert found.what == "topics/traffic.payment.yaml"
    assert found.how.startswith(next(iter(change)))
    assert found.breaking == breaking


def test_the_merge_base_is_where_the_branch_left(copy: Path) -> None:
    left = git(copy, "rev-parse", "HEAD").strip()
    git(copy, "checkout", "-q", "-b", "work")
    edit(schema(copy), lambda content: content.update(doc="Other words."))
    git(copy, "commit", "-q", "-am", "words")
    assert merge_base(copy) == left
    assert merge_base(copy, "work") == git(copy, "rev-parse", "HEAD").strip()


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(contracts_app, list(arguments))
    return result.exit_code, result.output


def test_command_check_answers_in_words_and_in_json(copy: Path) -> None:
    counted = f"{len(CONTRACTS)} schemas and {len(TOPICS)} topics are in order\n"
    assert run("check", "--root", str(copy)) == (0, counted)
    code, output = run("check", "--root", str(copy / "contracts"), "--json")
    assert (code, json.loads(output)) == (0, {"ok": True, "problems": []})
    (copy / "docs" / "fleet.md").write_text("old")
    code, output = run("check", "--root", str(copy), "--json")
    assert code == 1
    assert json.loads(output)["problems"][0]["check"] == "stale"


def test_command_diff(copy: Path) -> None:
    assert run("diff", "--root", str(copy), "--base", "HEAD")[0] == 0
    schema(copy, "run_closed.v1").unlink()
    code, output = run("diff", "--root", str(copy), "--json")
    assert code == 1
    assert json.loads(output)["breaking"] is True
    code, output = run("diff", "--root", str(copy), "--base", "nonsense", "--json")
    assert code == 2
    assert "no common history with nonsense" in json.loads(output)["error"]


def test_command_docs_lists_and_writes(copy: Path) -> None:
    (copy / "docs" / "fleet.md").unlink()
    (copy / "contracts/examples/payment.v1/full.bin").unlink()
    code, output = run("docs", "--root", str(copy), "--json")
    assert (code, json.loads(output)) == (1, {"stale": ["docs/fleet.md"]})
    code, output = run("docs", "--root", str(copy), "--write")
    assert code == 0
    assert "wrote docs/fleet.md" in output
    assert "recorded contracts/examples/payment.v1/full.bin" in output
    assert messages(copy) == ""


def test_commands_outside_a_repository_say_so(tmp_path: Path) -> None:
    code, output = run("check", "--root", str(tmp_path))
    assert code == 2
    assert "run this in a clone of the repository" in output
