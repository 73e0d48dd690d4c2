"""The coverage meter: which branches of the contract a run sent, and which of them the endpoint accepts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from types import MappingProxyType

from rejoinder.conformance.judging.acceptance import AcceptanceLog, outermost
from rejoinder.conformance.judging.context import Capability, Handling, Refusal
from rejoinder.conformance.judging.exchange_view import ExchangeView
from rejoinder.conformance.judging.plan_branches import by_plan
from rejoinder.contract import DEFAULT_DIALECT, Dialect, features_of, load_dialect
from rejoinder.contract.branches import Branches, is_below
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

    def report(self, capabilities: Mapping[str, Capability] = MappingProxyType({})) -> CoverageResult:
        """Return the coverage so far, for the footer of a run file.

        The branches of accepted features have the states of these ``capabilities``.
        """
        log = self._log
        everything = log.contract.all
        claims = log.claims()
        in_vain = log.sent_in_vain
        states: dict[Acceptance, set[str]] = {
            Acceptance.ACCEPTED: set(log.accepted),
            Acceptance.REFUSED: {name for name, pair in claims.items() if pair.handling is Handling.REFUSED},
            Acceptance.SERVER_ERROR: {name for name, pair in claims.items() if pair.handling is Handling.SERVER_ERROR},
            Acceptance.TOGETHER: {*in_vain} - claims.keys(),
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
            together=list(_groups(branches[Acceptance.TOGETHER], claims, log)),
            plans=by_plan(branches[Acceptance.NOT_SENT], self._dialect),
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


@cache
def feature_branches(dialect: str) -> Mapping[str, frozenset[str]]:
    """Return, by feature, the contract branches that are it: those of its example that no other example has."""
    contract = Branches.of_dialect(dialect)
    base = {"model": "m", "input": "Hi"}
    features = [feature for feature in features_of(load_dialect(dialect)) if feature.example]
    bodies = {feature.name: {**base, **(feature.example or {})} for feature in features}
    taken = {name: contract.of(body) for name, body in bodies.items()}
    found = {}
    for feature in features:
        others = [taken[name] for name, body in bodies.items() if not feature.is_used(body)]
        found[feature.name] = outermost(taken[feature.name].difference(contract.of(base), *others))
    return MappingProxyType(found)


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


def _groups(names: Iterable[str], claims: dict[str, Refusal], log: AcceptanceLog) -> Iterator[RefusedGroup]:
    """Yield the branches that were refused only together with others, by what they were refused together with."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for name in names:
        above = [claim for claim in claims if is_below(name, claim)]
        if not above:
            beside = [found & claims.keys() for found in log.rejected if name in found]
            above = list(frozenset.intersection(*map(frozenset, beside))) if beside else []
        groups.setdefault(tuple(sorted(above)), []).append(name)
    for culprits, found in sorted(groups.items()):
        yield RefusedGroup(branches=found, culprits=list(culprits))


def measure_coverage(
    exchanges: Iterable[Exchange],
    dialect: str = DEFAULT_DIALECT,
    capabilities: Mapping[str, Capability] = MappingProxyType({}),
) -> CoverageResult:
    """Return the coverage of a dialect's undisputed request contract, for the footer of a run file.

    Only bodies that are valid beyond dispute count (tag ``valid``). A branch is ``accepted`` when a request with it
    was accepted; else ``refused_alone`` or ``server_error`` when a pair of requests isolates it; else
    ``refused_together`` when requests with it were rejected; else ``unproven`` when none got a complete response; else
    ``not_sent``. Branches are sorted. An accepted branch that is a feature of which ``capabilities`` know more has the
    state of the feature: ``seen``, ``broken`` or ``ignored``.
    """
    meter = CoverageMeter(dialect)
    meter.add(exchanges)
    return meter.report(capabilities)
