"""Environments for other frameworks: the contract of a state that outlives the episode, and doors.

:mod:`~sleepgym.interop.contract` and :mod:`~sleepgym.interop.session` stand on nothing but this
package; the doors to OpenEnv, verifiers and TRL import theirs when they are used.
"""
