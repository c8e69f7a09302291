import pytest

from mobilenet_v3.tables import SPECS
from search.latency.model import MAdds
from search.proposals import lowest_channels, make_proposals
from search.widths import shrink, widths

LATENCY = MAdds(64, 10)


@pytest.fixture(params=['small', 'large'])
def spec(request):
    return SPECS[request.param]


def proposals_of(spec, share, lowest=0.25):
    at_most = (1 - share) * LATENCY.predict(spec)
    return at_most, make_proposals(spec, LATENCY, at_most, lowest_channels(spec, lowest))


def test_every_proposal_gives_enough_and_no_step_less_would(spec):
    at_most, proposals = proposals_of(spec, 0.01)
    assert len(proposals) > len(spec.blocks) / 2
    for proposal in proposals:
        assert proposal.latency == LATENCY.predict(proposal.spec) <= at_most
        assert shrink(spec, proposal.width, proposal.channels) == proposal.spec
        wider = proposal.channels + 8
        if wider < proposal.width.channels:
            assert LATENCY.predict(shrink(spec, proposal.width, wider)) > at_most


def test_a_width_that_cannot_give_enough_is_left_out(spec):
    names = {proposal.width.name for proposal in proposals_of(spec, 0.05)[1]}
    assert names < {proposal.width.name for proposal in proposals_of(spec, 0.01)[1]}
    assert proposals_of(spec, 0.9)[1] == []


def test_no_width_falls_below_its_share_of_the_seeds(spec):
    lowest = lowest_channels(spec, 0.9)
    for proposal in proposals_of(spec, 0.005, lowest=0.9)[1]:
        assert proposal.channels >= lowest[proposal.width.name] >= 0.89 * proposal.width.channels


def test_both_kinds_are_proposed(spec):
    kinds = {proposal.width.kind for proposal in proposals_of(spec, 0.01)[1]}
    assert kinds == {'expansion', 'bottleneck'}
    assert {w.name for w in widths(spec)} >= {p.width.name for p in proposals_of(spec, 0.01)[1]}
