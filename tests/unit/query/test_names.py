"""What is offered for a symbol that nobody knows."""

from k2ctl.query.answer import nearest, unknown


def test_another_spelling_comes_first() -> None:
    assert nearest("bhp", {"BHP", "BHO", "RIO"})[0] == "BHP"


def test_names_that_are_nothing_like_it_are_not_offered() -> None:
    assert nearest("ZZZZ", {"BHP", "RIO"}) == []


def test_the_error_names_the_nearest() -> None:
    error = unknown("BHPP", {"BHP", "RIO"}, (), "t")
    assert "BHPP" in str(error)
    assert error.hint == "Did you mean BHP?"


def test_the_error_says_when_not_everything_could_be_read() -> None:
    error = unknown("X", {"BHP"}, ("the tail is cut short",), "t")
    assert "in what could be read: the tail is cut short" in str(error)


def test_a_symbol_that_is_not_ascii_is_shown_in_ascii() -> None:
    assert str(unknown("BÉ", {"BHP"}, (), "t")).isascii()


def test_without_any_trade_the_next_step_is_to_load() -> None:
    assert "k2ctl load" in unknown("BHP", set(), (), "t").hint
