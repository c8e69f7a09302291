import subprocess

import pytest

from benchmark.phones import cores

MHZ = 1000


def listing(max_mhz, capacity=()):
    """What the kernel of a phone tells of its cores."""
    folder = '/sys/devices/system/cpu/cpu'
    lines = [f'{folder}{n}/cpu_capacity:{value}' for n, value in enumerate(capacity)]
    lines += [
        f'{folder}{n}/cpufreq/cpuinfo_max_freq:{int(value * MHZ)}'
        for n, value in enumerate(max_mhz)
    ]
    return '\n'.join(lines)


PIXEL_1 = listing([1593.6, 1593.6, 2150.4, 2150.4])
PIXEL_2 = listing([1900.8] * 4 + [2457.6] * 4)
PIXEL_3 = listing([1766.4] * 4 + [2803.2] * 4, [414] * 4 + [1024] * 4)
PIXEL_4 = listing([1785.6] * 4 + [2419.2] * 3 + [2841.6])
PIXEL_6 = listing([1803] * 4 + [2253] * 2 + [2802] * 2, [160] * 4 + [500] * 2 + [1024] * 2)


@pytest.mark.parametrize(
    ('phone', 'core', 'threads', 'mask'),
    [
        (PIXEL_1, 'big', 1, '4'),
        (PIXEL_1, 'big', 2, 'c'),
        (PIXEL_1, 'little', 1, '1'),
        (PIXEL_2, 'big', 1, '10'),
        (PIXEL_3, 'big', 4, 'f0'),
        (PIXEL_4, 'big', 1, '80'),
        (PIXEL_4, 'mid', 1, '10'),
        (PIXEL_4, 'mid', 3, '70'),
        (PIXEL_6, 'big', 1, '40'),
        (PIXEL_6, 'mid', 2, '30'),
        (PIXEL_6, 'little', 1, '1'),
        (PIXEL_6, 'c0', 1, 'c0'),  # a mask is taken as it is
        (PIXEL_6, 'ff', 8, 'ff'),
    ],
)
def test_masks_of_phones(phone, core, threads, mask):
    assert cores.choose(cores.parse_clusters(phone), core, threads).mask == mask


def test_the_slowest_cluster_stands_first():
    clusters = cores.parse_clusters(PIXEL_4)
    assert [cluster.cores for cluster in clusters] == [(0, 1, 2, 3), (4, 5, 6), (7,)]
    assert [str(cluster) for cluster in clusters] == [
        'cores 0–3 of 1.79 GHz',
        'cores 4–6 of 2.42 GHz',
        'core 7 of 2.84 GHz',
    ]


def test_cores_of_one_frequency_may_be_of_two_kinds():
    clusters = cores.parse_clusters(listing([2000] * 8, [1024] * 2 + [400] * 6))
    assert [cluster.cores for cluster in clusters] == [(2, 3, 4, 5, 6, 7), (0, 1)]
    assert cores.choose(clusters, 'big', 1).mask == '1'


def test_of_four_clusters_mid_is_the_faster_of_those_between():
    clusters = cores.parse_clusters(
        listing(
            [2016] * 3 + [2803] * 2 + [2803] * 2 + [3187],
            [300] * 3 + [800] * 2 + [700] * 2 + [1024],
        )
    )
    assert cores.choose(clusters, 'mid', 1).cores == (3,)


def test_capacities_of_some_cores_only_are_left_aside():
    clusters = cores.parse_clusters(listing([1000, 1000, 2000], [500, 1024]))
    assert [cluster.cores for cluster in clusters] == [(0, 1), (2,)]
    assert clusters[0].capacity is None


def test_without_frequencies_the_scheduler_chooses_unless_a_mask_is_given():
    assert cores.parse_clusters('') == []
    assert cores.choose([], 'big', 1) == cores.Pin(())
    assert cores.choose([], 'big', 1).mask == ''
    assert cores.choose([], '10', 1).mask == '10'


def test_a_phone_of_equal_cores_has_big_ones_only():
    clusters = cores.parse_clusters(listing([1500] * 4))
    assert cores.choose(clusters, 'big', 1).mask == '1'
    with pytest.raises(ValueError, match='--core=little, but this phone has only cores 0–3'):
        cores.choose(clusters, 'little', 1)


@pytest.mark.parametrize(
    ('phone', 'core', 'threads', 'message'),
    [
        (PIXEL_1, 'mid', 1, '--core=mid, but this phone has only cores 0–1 .* and cores 2–3'),
        (PIXEL_4, 'big', 2, '--core=big has 1 core for 2 threads; .* give --core a mask'),
        (PIXEL_1, '10', 1, '--core=10 names core 4, this phone has cores 0–1'),
        (PIXEL_3, 'f0', 5, '--core=f0 has 4 cores for 5 threads; set more bits'),
    ],
)
def test_cores_that_the_phone_has_not_are_told(phone, core, threads, message):
    with pytest.raises(ValueError, match=message):
        cores.choose(cores.parse_clusters(phone), core, threads)


@pytest.mark.parametrize('core', ['large', '', '0', '0x4', 'F0', '-1'])
def test_a_value_that_is_neither_name_nor_mask_is_told(core):
    with pytest.raises(ValueError, match=f"--core is '{core}', expected big, mid, little"):
        cores.check_name(core)


def test_the_listing_is_one_command_of_a_plain_shell():
    done = subprocess.run(['sh', '-c', cores.LISTING], capture_output=True, text=True, check=True)
    assert done.stderr == ''
    cores.parse_clusters(done.stdout)
