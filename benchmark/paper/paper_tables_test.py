import pytest

from benchmark.paper import figures, paper_tables
from benchmark.paper.figures_ablations import FORMS, STEPS
from benchmark.paper.grid import ENTRIES, Entry
from benchmark.paper.paper_claims import ACCURACY_CLAIMS, COUNT_CLAIMS, LATENCY_CLAIMS


@pytest.mark.parametrize('table', paper_tables.TABLES, ids=lambda table: table.title)
def test_every_row_fills_its_columns_and_names_files_of_the_grid(table):
    files = {file for _, file in table.latencies}
    for row in table.rows:
        assert len(row.figures) == len(table.columns)
        assert not row.keys or files == set(range(len(row.keys)))
        assert set(row.keys) <= ENTRIES.keys()
        for column, figure in zip(table.columns, row.figures, strict=True):
            assert isinstance(figure, str) == (column.quantity == 'text')


def test_every_claim_and_figure_names_files_of_the_grid():
    claims = [*LATENCY_CLAIMS, *ACCURACY_CLAIMS, *COUNT_CLAIMS]
    named = {key for claim in claims for key in (claim.model, claim.baseline)}
    named |= {key for _, key in STEPS}
    named |= {Entry(network).key for _, network, _ in FORMS}
    named |= {Entry(c.network, m).key for c in figures.CURVES for m in c.multipliers}
    assert named <= ENTRIES.keys()


@pytest.mark.parametrize(
    'table', [t for t in paper_tables.TABLES if t.ratios], ids=lambda table: table.title
)
def test_rows_with_heads_cost_about_what_the_paper_says(table):
    """The paper's are of 1025 × 2049 and 513 × 1025, and those of V1 and V2 of 80 classes."""
    for row in table.rows:
        for column, figure in zip(table.columns, row.figures, strict=True):
            if row.keys and column.quantity in ('params', 'madds'):
                cost = ENTRIES[row.key(column)].cost()
                ours = (cost.madds if column.quantity == 'madds' else cost.params) / column.scale
                assert ours == pytest.approx(figure, rel=0.06, abs=0.008), table.name_of(row)


def test_the_papers_ratios_point_where_its_claims_say():
    for claim in LATENCY_CLAIMS:
        for ratio in claim.paper.values():
            assert {'faster': ratio < 1, 'slower': ratio > 1, 'comparable': 0.95 < ratio < 1.05}[
                claim.sense
            ]


@pytest.mark.parametrize(
    ('key', 'top1'),
    [
        ('large_1_224_float32', 75.2),  # Tables 3 and 5
        ('large_1_224_int8', 73.8),
        ('large_hs16_1_224_float32', 75.4),
        ('large_0.5_224_float32', None),
    ],
)
def test_the_papers_accuracy_of_a_file(key, top1):
    assert paper_tables.paper_top1(key) == top1


def test_the_papers_latency_of_a_file():
    def read(key, title):
        return figures.paper_figure(paper_tables.TABLE_3, key, title)

    assert read('v2_1_224_float32', 'P-1 ms') == 64
    assert read('v2_1_224_int8', 'P-1 ms') is None
    assert read('v2_1_224_float32', 'P-9 ms') is None
