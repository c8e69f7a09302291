import pytest

from train.capacity import DEVICES, Assumptions, Needs, parse_fleets, plan

# One image takes 10 MB, the state 100 MB, a gradient 50 MB; 100 images/s at 10 GB/s here.
NEEDS = Needs(
    state_bytes=100_000_000,
    gradient_bytes=50_000_000,
    activation_bytes=10_000_000.0,
    program_bytes=1_000_000_000.0,
    images_per_second=100.0,
    bandwidth_gb_s=10.0,
)
ASSUMPTIONS = Assumptions(efficiency=0.5, link_gb_s=10.0)


def row(name, *, batch_size=256, images=3600 * 256, host_memory_gb=16.0, **options):
    (fleet,) = parse_fleets([name], host_memory_gb)
    return plan(fleet, NEEDS, ASSUMPTIONS, batch_size=batch_size, images=images, **options)


def test_this_machine_is_as_it_was_measured():
    host = row('host')
    assert host.images_each == 256
    assert host.memory_gb == pytest.approx(1.0 + 0.15 + 2.56)  # the program is here, too
    assert host.images_per_second == pytest.approx(100.0)
    assert host.hours == pytest.approx(2.56)  # 3,600 steps of 2.56 s


def test_another_device_is_faster_by_its_bandwidth():
    v100 = row('v100')
    assert v100.memory_gb == pytest.approx(0.15 + 2.56)
    assert v100.images_per_second == pytest.approx(100 * 90 * 0.5)


def test_devices_share_the_batch_and_exchange_gradients():
    four = row('4x24gb@1000')
    assert four.images_each == 64
    seconds = 64 / 1000 + 2 * 3 / 4 * 0.05 / 10
    assert four.steps_per_second == pytest.approx(1 / seconds)
    assert four.images_per_second == pytest.approx(256 / seconds)


def test_sixteen_bits_halve_what_images_take():
    assert row('v100', half=True).memory_gb == pytest.approx(0.15 + 1.28)


def test_a_share_that_does_not_fit_is_taken_in_equal_parts():
    assert row('3gb@10').parts == 1
    assert row('2.5gb@10').parts == 2
    # The gradients of the parts are added up somewhere.
    assert row('2gb@10').memory_gb == pytest.approx(0.15 + 0.05 + 1.28)
    assert row('0.25gb@10').parts == 64  # of 4 images
    assert row('0.1gb@10').parts == 0  # the state alone does not fit
    assert row('0.22gb@10').parts == 128  # of 2 images, which mixup can blend
    assert (row('0.211gb@10').parts, row('0.211gb@10', least=2).parts) == (256, 0)


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(ValueError, match='batch_size is 256; expected a multiple of the 3 devices'):
        row('3xv100')


@pytest.mark.parametrize('kind', DEVICES)
def test_every_known_kind_can_be_named(kind):
    (fleet,) = parse_fleets([f' 8X{kind.upper()}'], 1.0)
    assert (fleet.count, fleet.device) == (8, DEVICES[kind])


@pytest.mark.parametrize(
    'name', ['', 'x', '0xv100', '4x', 'gb@5', '0gb@5', '8gb@0', '1e3gb@1', '9' * 99]
)
def test_an_unknown_device_is_refused(name):
    with pytest.raises(ValueError, match='--devices'):
        parse_fleets([name], 1.0)


def test_a_near_name_is_asked_for():
    with pytest.raises(ValueError, match='did you mean v100'):
        parse_fleets(['4xv10'], 1.0)


def test_no_devices_are_refused():
    with pytest.raises(ValueError, match='--devices is empty'):
        parse_fleets([], 1.0)
