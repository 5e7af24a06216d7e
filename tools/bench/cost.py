"""Durations and prices of a cancellation at each memory setting, calculated from measured CPU seconds.

Lambda gives a function processor time in proportion to its memory, one whole vCPU at 1769 MB (AWS Lambda
developer guide, "Configure Lambda function memory"). So a call that took `cpu` seconds of processor here,
and waited for `waiting` seconds, takes `cpu / share + waiting` there, if a vCPU is as fast as this machine's
processor.
"""

from dataclasses import dataclass

from local.emulator.deploy import built_template

MEMORY_MB = (256, 512, 768, 1024, 1769)
VCPU_MB = 1769
# AWS's list prices in US dollars, us-east-1, arm64, first tier (aws.amazon.com/lambda/pricing), as
# remembered: they could not be checked here.
PRICE_PER_GB_S = 0.0000133334
PRICE_PER_MILLION_REQUESTS = 0.20
CLOPOS_S = 0.3  # the latency of Clopos, as far as we know


@dataclass
class Setting:
    """One memory setting.

    Attributes
    ----------
    memory_mb : int
        The setting.
    cold_s, warm_s, batch_s : float
        Seconds of a cold call and of a warm call of the API's function, and of a warm batch; with Clopos's
        latency.
    """

    memory_mb: int
    cold_s: float
    warm_s: float
    batch_s: float

    def per_million(self, duration_s: float, cancellations: int = 1) -> float:
        """Return the US dollars for a million cancellations, with so many in each invocation."""
        gb_s = duration_s * self.memory_mb / 1024
        return (gb_s * PRICE_PER_GB_S * 1_000_000 + PRICE_PER_MILLION_REQUESTS) / cancellations


def settings(cold_cpu_s: float, warm_cpu_s: float, batch_cpu_s: float, batch_wait_s: float) -> list[Setting]:
    """Return the durations for each memory setting."""

    def duration_s(memory_mb: int, cpu_s: float, waiting_s: float) -> float:
        share = min(1, memory_mb / VCPU_MB)  # a single thread does all the computing
        return cpu_s / share + waiting_s

    return [
        Setting(
            memory_mb,
            duration_s(memory_mb, cold_cpu_s, CLOPOS_S),
            duration_s(memory_mb, warm_cpu_s, CLOPOS_S),
            duration_s(memory_mb, batch_cpu_s, batch_wait_s),
        )
        for memory_mb in MEMORY_MB
    ]


def chosen_mb() -> int:
    """Return the setting in template.yaml."""
    return int(built_template()["Globals"]["Function"]["MemorySize"])
