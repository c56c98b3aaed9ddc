"""The costs of many tasks are summed for a bill."""

from omniedit.edits.usage import Expense, bills


def test_a_sum_is_rounded_once_not_with_each_task() -> None:
    expenses = [Expense("clip", "completed", reserved=None, used=0.0000867)] * 1000

    rows, total = bills(expenses)

    assert (rows["clip"].charged, total.charged) == (0.0867, 0.0867)


def test_a_sum_has_no_floating_point_noise() -> None:
    expenses = [Expense("clip", "processing", reserved=0.1, used=None)] * 3

    _, total = bills(expenses)

    assert total.reserved == 0.3
