"""Single operations of L2 in every configuration of a campaign, compared."""

from collections.abc import Mapping

from vel2.bench.campaign import Campaign, Result, Runs
from vel2.bench.configuration import Configuration
from vel2.bench.measure import Figures, MicroRequest, measure
from vel2.bench.operations import unavailable
from vel2.bench.payload import Payload, build_payload
from vel2.bench.result import Tree, add_comparisons, measured_column

__all__ = ("compare_operations",)

NOTHING: Mapping[str, str] = {}


def compare_operations(
    campaign: Campaign, payload: Payload, lacking: Mapping[str, str] = NOTHING
) -> Result:
    """Measure the payload's operations in each configuration.

    :param payload: for the runs that count; it tells its marks.
    :param lacking: configurations that cannot be measured, and why.
    """
    plain = build_payload(payload.count, payload.selected, has_marks=False, vcpus=payload.vcpus)

    def once(row: Configuration, counts: bool) -> Mapping[str, Figures]:
        program = payload if counts else plain
        return measure(
            MicroRequest(row, campaign.kernel, program, counts, timeout=campaign.timeout)
        )

    def column(runs: Runs[Mapping[str, Figures]]) -> Tree:
        return measured_column(runs.first, runs.counted is not None, runs.timed)

    found = campaign.measure(once)
    not_available = {**unavailable(payload.vcpus), **lacking}
    result = campaign.result(found, column, smp=payload.vcpus, not_available=not_available)
    add_comparisons(result.tree["configurations"], campaign.rows)
    return result
