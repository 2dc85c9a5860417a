"""The committed table of features is the one the code gives."""

from features_table import DOCUMENTED, PAGE, table
from nodules.imaging.features.definition import RANKS
from nodules.imaging.features.measure import FEATURES, MALIGNANCY_FEATURES


def test_committed_page_is_current() -> None:
    assert PAGE.read_text() == table(), "run python docs/features_table.py"


def test_every_feature_is_in_one_row() -> None:
    assert list(DOCUMENTED) == [*FEATURES, *MALIGNANCY_FEATURES]
    rows = [line for line in table().splitlines() if line.startswith("| `")]
    assert len(rows) == len(DOCUMENTED) - (RANKS - 1) * sum(name.startswith("nodule1_") for name in DOCUMENTED)
    assert all(line.count("|") == 5 and all(cell.strip() for cell in line.split("|")[1:-1]) for line in rows)
    for name, entry in DOCUMENTED.items():
        named = [row for row in rows if f"`{name}`" in row.split("|")[1]]
        assert len(named) == (1 if not name.startswith("nodule") or name[6] in f"1{RANKS}" else 0), name
        assert all(entry.unit in row and entry.source in row for row in named)
