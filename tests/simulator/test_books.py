from meter.simulator.books import Books


def write(books: Books, model: str = "m", ending: str = "ok", **quantities: int) -> None:
    books.write(
        key="sk-a-very-long-key",
        user="alice",
        endpoint="chat",
        model=model,
        model_requested=model,
        status=200,
        ending=ending,  # type: ignore[arg-type]
        is_stream=False,
        chunks=0,
        quantities=quantities,
    )


def test_sums_are_kept_by_model_and_over_everything() -> None:
    books = Books(10)
    write(books, "a", input_tokens=10, output_tokens=5)
    write(books, "a", ending="cut", input_tokens=10, output_tokens=2)
    write(books, "b", ending="failed")
    report = books.report()
    assert report["models"]["a"]["chat"] == {
        "requests": 2,
        "ok": 1,
        "failed": 0,
        "cut": 1,
        "client_gone": 0,
        "quantities": {"input_tokens": 20, "output_tokens": 7},
    }
    assert (report["requests"], report["failed"]) == (3, 1)
    assert report["quantities"] == {"input_tokens": 20, "output_tokens": 7}


def test_exchanges_show_a_prefix_of_the_key_and_are_bounded() -> None:
    books = Books(2)
    for _ in range(3):
        write(books, input_tokens=1)
    exchanges = books.report()["exchanges"]
    assert [exchange["number"] for exchange in exchanges] == [2, 3]
    assert exchanges[0]["key_prefix"] == "sk-a-very-lo"
    assert exchanges[0]["user"] == "alice"
    assert books.report()["requests"] == 3


def test_clear_forgets_everything() -> None:
    books = Books(2)
    write(books, input_tokens=1)
    books.clear()
    report = books.report()
    assert (report["requests"], report["exchanges"], report["models"]) == (0, [], {})
