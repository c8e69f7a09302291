import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from train.data import shapes
from train.data.shapes import CLASSES, IMAGE_SIZE, SEED, render


@pytest.fixture(scope='module')
def examples() -> list[shapes.Example]:
    return [render(SEED, 'train', index) for index in range(800)]


@pytest.fixture
def tiny_splits(monkeypatch):
    monkeypatch.setattr(shapes, 'SPLITS', {'train': 8, 'validation': 3})


def pixel_features(examples: list[shapes.Example]) -> np.ndarray:
    """Returns the images at 16x16 with a constant 1 appended, [N, 769]."""
    images = np.stack([example.image for example in examples]).astype(np.float32) / 255
    small = images.reshape(len(images), 16, 6, 16, 6, 3).mean(axis=(2, 4))
    return np.concatenate([small.reshape(len(images), -1), np.ones((len(images), 1))], axis=1)


def bounding_box(pixels: np.ndarray) -> np.ndarray:
    rows, columns = np.nonzero(pixels)
    corners = [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]
    return np.array(corners, np.float32) / IMAGE_SIZE


def assert_same(one: shapes.Example, other: shapes.Example) -> None:
    assert one.label == other.label
    for field in ('image', 'boxes', 'box_labels', 'mask'):
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field))


# ------------------------------------------------------------------------------------ render


def test_an_example_depends_on_its_name_alone(examples):
    assert_same(render(SEED, 'train', 7), examples[7])


def test_a_fresh_process_draws_the_same_pixels():
    # What a process draws must not hang on its hash seed, which `hash(split)` would.
    program = (
        'import hashlib; from train.data.shapes import render; '
        "print(hashlib.sha256(render(0, 'train', 5).image.tobytes()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, '-c', program],
            env={**os.environ, 'PYTHONHASHSEED': hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ('1', '2')
    }
    assert len(digests) == 1


def test_index_split_and_seed_each_change_the_image():
    images = [
        render(seed, split, index).image.tobytes()
        for seed, split, index in [(0, 'train', 8), (0, 'train', 16), (0, 'validation', 8)]
    ]
    images.append(render(1, 'train', 8).image.tobytes())
    assert len(set(images)) == 4


def test_shapes_and_types(examples):
    for example in examples[:20]:
        assert example.image.shape == (IMAGE_SIZE, IMAGE_SIZE, 3)
        assert example.mask.shape == (IMAGE_SIZE, IMAGE_SIZE, 1)
        assert example.image.dtype == example.mask.dtype == np.uint8
        assert example.boxes.shape == (len(example.box_labels), 4)
        assert example.boxes.dtype == np.float32


def test_one_to_four_objects_and_each_number_occurs(examples):
    assert {len(example.boxes) for example in examples} == {1, 2, 3, 4}


def test_classes_are_balanced(examples):
    counts = np.bincount([example.label for example in examples], minlength=len(CLASSES))
    np.testing.assert_array_equal(counts, 100)


def test_smaller_shapes_are_of_every_class_whatever_the_label(examples):
    others = np.zeros((len(CLASSES), len(CLASSES)), int)
    for example in examples:
        np.add.at(others[example.label], example.box_labels[1:], 1)
    assert others.min() > 0


def test_mask_and_boxes_name_the_same_classes(examples):
    for example in examples:
        in_mask = set(np.unique(example.mask).tolist()) - {0}
        assert in_mask == {1 + label for label in example.box_labels.tolist()}


def test_boxes_are_tight_around_the_visible_pixels(examples):
    for example in examples:
        assert example.boxes.min() >= 0
        assert example.boxes.max() <= 1
        for label in set(example.box_labels.tolist()):
            boxes = example.boxes[example.box_labels == label]
            hull = np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])
            np.testing.assert_array_equal(hull, bounding_box(example.mask[..., 0] == 1 + label))


def test_label_is_the_class_of_the_clearly_largest_shape(examples):
    compared = 0
    for example in examples:
        assert example.box_labels[0] == example.label
        if len(set(example.box_labels.tolist())) == len(example.box_labels):  # areas can be read
            areas = [np.count_nonzero(example.mask == 1 + label) for label in example.box_labels]
            assert all(areas[0] >= 1.5 * area for area in areas[1:])
            compared += len(areas) > 1
    assert compared > 100


def test_area_does_not_tell_the_class(examples):
    areas = [[] for _ in CLASSES]
    for example in examples:
        if len(example.boxes) == 1:
            areas[example.label].append(np.count_nonzero(example.mask))
    means = np.array([np.mean(of_class) for of_class in areas])
    np.testing.assert_allclose(means, means.mean(), rtol=0.25)


def test_a_linear_classifier_on_pixels_fails(examples):
    # The exact ridge solution on 600 images, judged on 200 others; chance is 0.125.
    features = pixel_features(examples)
    labels = np.array([example.label for example in examples])
    train, held_out = slice(0, 600), slice(600, None)
    targets = np.eye(len(CLASSES))[labels[train]]
    gram = features[train].T @ features[train] + 10 * np.eye(features.shape[1])
    weights = np.linalg.solve(gram, features[train].T @ targets)
    accuracy = np.mean((features[held_out] @ weights).argmax(axis=1) == labels[held_out])
    assert accuracy < 0.3


# ----------------------------------------------------------------------------------- On disk


def test_prepared_data_is_what_render_draws(tmp_path, tiny_splits):
    builder = shapes.prepare(str(tmp_path))
    assert builder.info.features['label'].names == list(CLASSES)
    assert builder.info.splits['validation'].num_examples == 3
    stored = list(tfds.as_numpy(builder.as_dataset(split='train')))
    assert len(stored) == 8
    for example in stored:  # in TFDS's order; one example a class, so the label names it
        drawn = render(SEED, 'train', int(example['label']))
        np.testing.assert_array_equal(example['mask'], drawn.mask)
        np.testing.assert_array_equal(example['objects']['label'], drawn.box_labels)
        np.testing.assert_allclose(example['objects']['bbox'], drawn.boxes)
        # JPEG: close, not equal.
        assert np.abs(example['image'].astype(int) - drawn.image).mean() < 4


def test_the_second_call_draws_nothing(tmp_path, tiny_splits, monkeypatch):
    shapes.prepare(str(tmp_path))
    monkeypatch.setattr(shapes, 'render', None)
    assert shapes.prepare(str(tmp_path)).info.splits['train'].num_examples == 8


def test_prepare_prints_nothing(tmp_path, tiny_splits, capfd):
    shapes.prepare(str(tmp_path))
    assert capfd.readouterr().out == ''


def test_a_killed_preparation_is_not_taken_for_a_whole_one(tmp_path, tiny_splits):
    # os._exit, like a kill, runs no clean-up: the temporary folder stays behind.
    program = (
        'import os, sys; from train.data import shapes; draw = shapes.render\n'
        "shapes.SPLITS = {'train': 8, 'validation': 3}\n"
        'def render(seed, split, index):\n'
        "    if (split, index) == ('validation', 1): os._exit(9)\n"
        '    return draw(seed, split, index)\n'
        'shapes.render = render; shapes.prepare(sys.argv[1])'
    )
    killed = subprocess.run([sys.executable, '-c', program, str(tmp_path)], capture_output=True)
    assert killed.returncode == 9, killed.stderr
    assert list(tmp_path.rglob('*incomplete*'))
    builder = shapes.prepare(str(tmp_path))
    assert sum(1 for _ in builder.as_dataset(split='validation')) == 3


def test_prepare_accepts_the_data_of_a_process_that_was_faster(tmp_path, tiny_splits, monkeypatch):
    draw = shapes.render
    faster = []

    def overtaken(seed, split, index):
        monkeypatch.setattr(shapes, 'render', draw)
        faster.append(shapes.prepare(str(tmp_path)))
        return draw(seed, split, index)

    monkeypatch.setattr(shapes, 'render', overtaken)
    builder = shapes.prepare(str(tmp_path))
    assert len(faster) == 1
    assert sum(1 for _ in builder.as_dataset(split='train')) == 8
    assert not list(tmp_path.rglob('*incomplete*'))


def test_prepare_reports_a_folder_it_cannot_write(tmp_path, tiny_splits):
    in_the_way = tmp_path / 'file'
    in_the_way.write_text('')
    with pytest.raises(OSError, match='file'):
        shapes.prepare(str(in_the_way))
