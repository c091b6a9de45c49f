"""Policies can only be tightened."""

from hypothesis import given
from hypothesis import strategies as st

from gleitzeit.policy import Policy, SecurityLevel

words = st.frozensets(st.sampled_from(["a", "b", "c"]))
limits = st.none() | st.floats(0, 10)
policies = st.builds(
    Policy,
    st.sampled_from(SecurityLevel),
    requires=words,
    readable=words,
    writable=words,
    hosts=words,
    wall_seconds=limits,
    memory_mb=limits,
    processes=limits,
)


def holds(strict, loose):
    """Is nothing that `strict` allows forbidden by `loose`?"""
    return (
        strict.level >= loose.level
        and strict.requires >= loose.requires
        and all(getattr(strict, name) <= getattr(loose, name) for name in ("readable", "writable", "hosts"))
        and all(
            getattr(loose, name) is None
            or (getattr(strict, name) is not None and getattr(strict, name) <= getattr(loose, name))
            for name in ("wall_seconds", "memory_mb", "processes")
        )
    )


@given(policies, policies)
def test_a_tightened_policy_is_never_wider_than_either(one, other):
    assert holds(one.tighten(other), one)
    assert holds(one.tighten(other), other)


@given(policies, policies)
def test_the_order_of_tightening_does_not_matter(one, other):
    assert one.tighten(other) == other.tighten(one)
    assert one.tighten(one) == one
