"""The coverage meter: which branches of the contract a run sent, and which of them the endpoint accepts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType

from rejoinder.conformance.judging.acceptance import AcceptanceLog, enclosing
from rejoinder.conformance.judging.capabilities import feature_branches
from rejoinder.conformance.judging.context import Capability, Handling, Refusal
from rejoinder.conformance.judging.exchange_view import ExchangeView
from rejoinder.conformance.judging.plan_branches import by_plan
from rejoinder.contract import DEFAULT_DIALECT, Dialect, load_dialect
from rejoinder.model.exchange import Exchange
from rejoinder.model.footer import Acceptance, CoverageResult, IsolatedRefusal, RefusedGroup


class CoverageMeter:
    """Measures as exchanges come; see :func:`measure_coverage`."""

    def __init__(self, dialect: str = DEFAULT_DIALECT) -> None:
        self._dialect = load_dialect(dialect)
        self._log = AcceptanceLog(dialect)

    def add(self, exchanges: Iterable[Exchange]) -> None:
        """Take exchanges into account."""
        self._log.add([ExchangeView(exchange, self._dialect) for exchange in exchanges])

    def report(
        self,
        capabilities: Mapping[str, Capability] = MappingProxyType({}),
        plan: str = "",
        repeats: bool | None = None,
    ) -> CoverageResult:
        """Return the coverage so far, for the footer of a run file.

        The branches of accepted features have the states of these ``capabilities``. ``plan`` is the test plan of the
        run, and ``repeats`` whether its model repeated a canary: they say why branches were not sent.
        """
        log = self._log
        everything = log.contract.all
        claims = log.claims()
        in_vain, left_open = log.sent_in_vain, log.left_open
        states: dict[Acceptance, set[str]] = {
            Acceptance.ACCEPTED: set(log.accepted),
            Acceptance.REFUSED: {name for name, pair in claims.items() if pair.handling is Handling.REFUSED},
            Acceptance.SERVER_ERROR: {name for name, pair in claims.items() if pair.handling is Handling.SERVER_ERROR},
            Acceptance.PART: {*in_vain - left_open} - claims.keys(),
            Acceptance.TOGETHER: set(left_open),
            Acceptance.UNPROVEN: log.unproven - log.accepted - in_vain,
        }
        for name, state in _feature_states(self._dialect, capabilities).items():
            if name in log.accepted:
                states[Acceptance.ACCEPTED] = states[Acceptance.ACCEPTED] - {name}
                states.setdefault(state, set()).add(name)
        branches = {state: sorted(states.get(state, set()) & everything) for state in Acceptance}
        sent = {name for names in branches.values() for name in names}
        branches[Acceptance.NOT_SENT] = sorted(everything - sent)
        return CoverageResult(
            total=len(everything),
            counts={state: len(names) for state, names in branches.items()},
            branches=branches,
            refusals=list(_refusals(claims)),
            parts=_groups(branches[Acceptance.PART], lambda name: enclosing(name, claims)),
            together=_groups(branches[Acceptance.TOGETHER], lambda name: _beside(name, claims, log)),
            plans=by_plan(branches[Acceptance.NOT_SENT], self._dialect, plan, repeats),
        )


def _feature_states(dialect: Dialect, capabilities: Mapping[str, Capability]) -> dict[str, Acceptance]:
    """Return the states of the branches that are features, where more is known than that they are accepted."""
    found: dict[str, Acceptance] = {}
    for name, known in capabilities.items():
        if known.state.is_accepted and known.state is not Acceptance.ACCEPTED:
            for branch in feature_branches(dialect.reference).get(name, ()):
                # Of two features that one branch is, the one with a finding counts.
                if found.get(branch, Acceptance.SEEN) is Acceptance.SEEN:
                    found[branch] = known.state
    return found


def _refusals(claims: dict[str, Refusal]) -> Iterator[IsolatedRefusal]:
    shared: dict[str, list[str]] = {}
    pairs: dict[str, Refusal] = {}
    for name, pair in claims.items():
        shared.setdefault(pair.rejected.id, []).append(name)
        pairs[pair.rejected.id] = pair
    for identity, names in sorted(shared.items(), key=lambda item: min(item[1])):
        pair = pairs[identity]
        yield IsolatedRefusal(
            branches=sorted(names),
            state=Acceptance.REFUSED if pair.handling is Handling.REFUSED else Acceptance.SERVER_ERROR,
            exchange=identity,
            control=pair.accepted.id,
            status=pair.rejected.status,
            words=pair.words,
        )


def _groups(names: Iterable[str], culprits: Callable[[str], frozenset[str]]) -> list[RefusedGroup]:
    """Return branches in groups with the same culprits."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for name in names:
        groups.setdefault(tuple(sorted(culprits(name))), []).append(name)
    return [RefusedGroup(branches=found, culprits=list(reasons)) for reasons, found in sorted(groups.items())]


def _beside(name: str, claims: Mapping[str, Refusal], log: AcceptanceLog) -> frozenset[str]:
    """Return the isolated branches that every rejected request with a branch contains.

    Where no single one is in all of them, those of which each contains one at least; none where one contains none.
    """
    beside = [found.intersection(claims) for found in log.rejected if name in found]
    if not all(beside):
        return frozenset()
    return frozenset.intersection(*beside) or frozenset().union(*beside)


def measure_coverage(
    exchanges: Iterable[Exchange],
    dialect: str = DEFAULT_DIALECT,
    capabilities: Mapping[str, Capability] = MappingProxyType({}),
    plan: str = "",
    repeats: bool | None = None,
) -> CoverageResult:
    """Return the coverage of a dialect's undisputed request contract, for the footer of a run file.

    Only bodies that are valid beyond dispute count (tag ``valid``). A branch is ``accepted`` when a request with it
    was accepted; else ``refused_alone`` or ``server_error`` when a pair of requests isolates it; else ``refused_part``
    when it lies inside such a branch; else ``refused_together`` when requests with it were rejected; else ``unproven``
    when none got a complete response; else ``not_sent``. Branches are sorted. An accepted branch that is a feature of
    which ``capabilities`` know more has the state of the feature: ``seen``, ``broken`` or ``ignored``. ``plan`` and
    ``repeats`` are those of :meth:`CoverageMeter.report`.
    """
    meter = CoverageMeter(dialect)
    meter.add(exchanges)
    return meter.report(capabilities, plan, repeats)
