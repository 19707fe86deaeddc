"""The table, in text and in HTML."""

import pytest

from opifex_tutorials.tables import Table

TABLE = Table("a & b", [{"x_y": "<i>{0}", "z": 0.00012}, {"x_y": None}], "x_y z", style="ledger")


def test_columns_are_aligned_in_text():
    assert str(TABLE).split("\n") == ["a & b", "-----", "x y     z", "<i>{0}  0.00012", ""]


def test_html_is_escaped_and_names_its_headings():
    assert TABLE._repr_html_().splitlines() == [
        '<table class="ledger">',
        "<caption>a &amp; b</caption>",
        '<thead><tr><th scope="col">x y</th><th scope="col">z</th></tr></thead>',
        "<tbody>",
        '<tr><th scope="row">&lt;i&gt;{0}</th><td>0.00012</td></tr>',
        '<tr><th scope="row"></th><td></td></tr>',
        "</tbody>",
        "</table>",
    ]


def test_no_line_breaks_within_a_number_of_the_html():
    page = Table("numbers", [{"x": "1.5e-06 [1e-06, 2e-06], ≤ 0.5"}], "x")._repr_html_()
    for whole in ("1.5e-06", "1e-06", "2e-06", "≤ 0.5"):
        assert f'<span style="white-space: nowrap">{whole}</span>' in page


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "yes"),
        (False, "no"),
        (0, "0"),
        (12345, "12345"),
        (0.0, "0"),
        (1.23456e-7, "1.23e-07"),
        (12.345, "12.3"),
        (1234.5, "1,234"),
        (-1234.5, "-1,234"),
        (1.5e9, "1.5e+09"),
    ],
)
def test_numbers_are_rounded_for_readers(value, text):
    assert Table("numbers", [{"x": value}], "x").lines[1] == [text]


def test_a_column_that_no_record_has_is_refused():
    with pytest.raises(ValueError, match="columns='method grad u': allowed are names among"):
        Table("caption", [{"method": "grid", "u": 1.0}], "method grad u")
