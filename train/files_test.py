import pytest

from train import files


def test_a_failed_write_keeps_the_old_file(tmp_path):
    output = tmp_path / 'results.json'
    output.write_text('old')
    with pytest.raises(ValueError, match='not JSON compliant'):
        files.write_json(output, {'median': float('nan')})
    assert output.read_text() == 'old'
    assert [file.name for file in tmp_path.iterdir()] == ['results.json']
