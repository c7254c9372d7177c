from services.ingest_edge.promises import Promises


def test_a_promised_event_is_kept_when_it_comes() -> None:
    promises = Promises(most=2, seconds=10)
    promises.make("a")
    assert promises.find("a") is None
    assert promises.fulfil("a", b"1")
    assert not promises.fulfil("b", b"2")
    assert (promises.find("a"), promises.find("b")) == (b"1", None)


def test_a_promise_ends_and_begins_anew_with_the_next_question() -> None:
    now = 0.0
    promises = Promises(most=2, seconds=10, now=lambda: now)
    promises.make("a")
    promises.fulfil("a", b"1")
    now = 9.0
    promises.make("a")
    now = 18.0
    assert promises.find("a") == b"1"
    now = 19.0
    assert promises.find("a") is None
    assert not promises.fulfil("a", b"1")


def test_too_many_promises_push_the_oldest_out() -> None:
    promises = Promises(most=2, seconds=10)
    for name in ("a", "b", "a", "c"):
        promises.make(name)
    assert [promises.fulfil(name, b"") for name in ("a", "b", "c")] == [True, False, True]
