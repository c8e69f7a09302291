"""What a card says of its file is what train.evaluate and train.predict find."""

import pytest

from export.stage import Options, export
from train.card_file import read_card
from train.data.images import find_images
from train.evaluate import measure
from train.predict import predict
from train.predictor import open_predictor


@pytest.fixture(scope='module')
def exported(tiny_trained, tiny_recipe, tmp_path_factory):
    """A folder with a float and an int8 file that give probabilities."""
    output = tmp_path_factory.mktemp('exported')
    options = Options(str(output), ('int8',), method='ptq', outputs='probabilities')
    export(tiny_trained, options, tiny_recipe())
    return output


@pytest.mark.slow
@pytest.mark.parametrize('scheme', ['float32', 'int8'])
def test_the_figures_of_a_card_are_found_again(exported, tiny_trained, image_folder, scheme):
    path = exported / f'tiny_{scheme}.tflite'
    predictor = open_predictor(str(path))
    assert predictor.probabilities
    statistics = measure(predictor, tiny_trained.source.val)
    metrics = predictor.task.metrics(statistics)
    assert metrics == pytest.approx(read_card(path)['evaluation']['file'], rel=1e-6)

    files = find_images([str(image_folder / 'val')])
    found = [best['label'] for _, _, (best,), _ in predict(predictor, files, top=1)]
    assert found == [predictor.task.labels[number] for number in statistics['prediction']]
