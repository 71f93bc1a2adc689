"""SleepGym's streams for verifiers: ``vf-run sleepgym-verifiers``."""

from sleepgym.interop.verifiers_taskset import SleepGymEnv, SleepGymTaskset

__all__ = ["SleepGymEnv", "SleepGymTaskset"]
