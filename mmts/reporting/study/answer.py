"""The answer of a study in three sentences, each with what it rests on: made from its intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from mmts.kinds.objective import quantity
from mmts.reporting.intervals import Interval
from mmts.reporting.study.rows import SWEEP, Row, Rows, imbalance_of
from mmts.reporting.words import bounds, capital, signed


@dataclass(frozen=True)
class Claim:
    """A sentence, and what it rests on, by dataset."""

    sentence: str
    evidence: tuple[str, ...]


Verdicts = list[tuple[str, str]]
"""What is so, and the dataset on which it is."""


def answer(studies: Sequence[Rows]) -> list[Claim]:
    """Whether MM-TS helps, what of it helps, and whether it does so more with a longer tail.

    A sentence says that something is so only where the 95 % interval excludes zero.
    """
    return [_gain(studies), *_pieces(studies), *_tail(studies)]


def told(gain: Interval) -> str:
    """A difference of rsum with its 95 % interval, and whether it may be noise."""
    return f"{signed(gain.value)} [{bounds(gain)}]" + ("" if gain.clear else ", within the noise")


def _gain(studies: Sequence[Rows]) -> Claim:
    verdicts: Verdicts = []
    evidence = []
    for rows in studies:
        gain = _gain_of(rows.chosen[rows.mmts], rows, "best")
        does = "beats" if gain.above else "is worse than" if gain.below else "does not beat"
        fixed = f"the best fixed {quantity(rows.best)}"
        verdict, numbers = f"{does} {fixed}", told(gain)
        if gain.above and "centre" in rows.chosen[rows.mmts].contrasts:
            alike = _gain_of(rows.chosen[rows.mmts], rows, "centre")
            numbers += f"; over one at its own centre {told(alike)}"
            if not alike.above:
                verdict += " that the trials chose, though not one at its own centre,"
        verdicts.append((verdict, f"{rows.dataset} ({numbers})"))
        evidence.append(
            f"{rows.dataset}: MM-TS is {rows.mmts} and {fixed} is {rows.best}, each the better of "
            f"its kind on the validation split. {_above(rows)}{_fixed(rows)}"
        )
    return Claim(f"With equally many trials for each, MM-TS {_grouped(verdicts)}.", tuple(evidence))


def _fixed(rows: Rows) -> str:
    """The test rsum of fixed temperatures that were tested whether or not they were chosen."""
    found = [
        f"{mean(rows.results.values(tested, 'rsum')):.1f} at {tested.entry.changes['centre']:g}"
        for tested in rows.fixed
        if tested.entry.name == rows.best
    ]
    if not found:
        return ""
    chosen = rows.results.chosen[rows.best]
    return (
        f" Test rsum of {rows.best}, whichever was chosen: {_listed(found)}; the trials chose "
        f"{chosen.entry.changes['centre']:g}. How well a trial of one seed chooses is part of "
        "every difference between tuned methods."
    )


def _above(rows: Rows) -> str:
    """Every method that is clearly above the best fixed one."""
    gains = {
        row.name: _gain_of(row, rows, "best")
        for row in rows.chosen.values()
        if "best" in row.contrasts
    }
    found = [f"{name} ({told(gain)})" for name, gain in gains.items() if gain.above]
    return f"Clearly above {rows.best}: {_listed(found) if found else 'no method'}."


def _pieces(studies: Sequence[Rows]) -> list[Claim]:
    """TS and ICS of the better MM-TS row, and the controls, which may be another's."""
    added: Verdicts = []
    sizes: Verdicts = []
    evidence = []
    for rows in studies:
        name, start = rows.mmts, rows.mmts.removesuffix("_mmts")
        gains = {
            f"{of} over {rows.own(name)}": _gain_of(rows.chosen[of], rows, "own")
            for of in (f"{start}_ts", f"{start}_ics", name)
            if of in rows.chosen
        }
        if "ts" in rows.chosen[name].contrasts:
            over_ts = _gain_of(rows.chosen[name], rows, "ts")
            added.append((_added(over_ts), f"{rows.dataset} ({told(over_ts)})"))
        method, controls = _controls(rows)
        if controls:
            of = "" if method == name else f" (with {method})"
            sizes.append((_sizes(controls), f"{rows.dataset}{of}"))
        gains |= {
            f"{method} with {c} shifts over shifts by size": gain for c, gain in controls.items()
        }
        shown = (f"{label} {told(gain)}" for label, gain in gains.items())
        evidence.append(f"{rows.dataset}: {'; '.join(shown)}.")
    said = "; ".join(_grouped(verdicts) for verdicts in (added, sizes) if verdicts)
    return [Claim(f"{capital(said)}.", tuple(evidence))] if said else []


def _added(over_ts: Interval) -> str:
    if not over_ts.clear:
        return "MM-TS is not clearly better or worse than TS alone"
    return f"MM-TS is {'better' if over_ts.value > 0 else 'worse'} than TS alone"


def _sizes(controls: dict[str, Interval]) -> str:
    """What reversed and random shifts, less those by size, say about the sizes of the clusters."""
    worse = [control for control, gain in controls.items() if gain.below]
    better = [control for control, gain in controls.items() if gain.above]
    others = [control for control in controls if control not in worse]
    if better:
        return f"{_listed(better)} shifts are better than shifts by cluster size"
    if not worse:
        return (
            f"{_listed(others)} shifts are not clearly worse than shifts by cluster size, so there "
            "is no sign that the sizes matter"
        )
    if others:
        return f"only {_listed(worse)} shifts are clearly worse than shifts by cluster size"
    return f"{_listed(worse)} shifts are worse than shifts by cluster size"


def _tail(studies: Sequence[Rows]) -> list[Claim]:
    verdicts: Verdicts = []
    evidence = []
    for rows in studies:
        swept = [r for r in rows.by_table.get(SWEEP, []) if r.tested.entry.name == "info_nce_mmts"]
        swept.sort(key=lambda row: imbalance_of(row.tested))
        if not swept or "growth" not in swept[-1].contrasts:
            continue
        ends = swept[0], swept[-1]
        low, high = (f"{imbalance_of(row.tested):g}" for row in ends)
        growth = _gain_of(ends[1], rows, "growth")
        verb = "does not clearly change"
        if growth.clear:
            verb = "rises" if growth.value > 0 else "falls"
        verdict = f"{verb} from imbalance {low} to {high}"
        there = f"at {high}: {told(_gain_of(ends[1], rows, 'own'))}"
        verdicts.append((verdict, f"{rows.dataset} (by {told(growth)}; {there})"))
        for what, part in (("all", None), ("tail", "tail")):
            start, end = (told(_gain_of(row, rows, "own", part)) for row in ends)
            more = (
                "" if part is None else f"; change {told(_gain_of(ends[1], rows, 'growth', part))}"
            )
            evidence.append(
                f"{rows.dataset}, info_nce_mmts over info_nce, {what} queries: at imbalance {low} "
                f"{start}; at {high} {end}{more}."
            )
    sentence = (
        "On long-tailed training splits, without tuning anew, the difference of MM-TS to the fixed "
        f"temperature that the trials chose {_grouped(verdicts)}."
    )
    return [Claim(sentence, tuple(evidence))] if evidence else []


def _controls(rows: Rows) -> tuple[str, dict[str, Interval]]:
    """A method with controls, the better MM-TS if it has them, and what each gains over it."""
    found: dict[str, dict[str, Interval]] = {}
    for row in rows.by_table.get("controls", []):
        if "control" in row.tested.entry.varied:
            gain = _gain_of(row, rows, "chosen")
            found.setdefault(row.tested.entry.name, {})[row.tested.entry.varied["control"]] = gain
    method = rows.mmts if rows.mmts in found else next(iter(found), rows.mmts)
    return method, found.get(method, {})


def _gain_of(row: Row, rows: Rows, to: str, part: str | None = None) -> Interval:
    return rows.results.contrast(row.contrasts[to].terms, part)


def _grouped(verdicts: Verdicts) -> str:
    """Each verdict with all its datasets."""
    by_verdict: dict[str, list[str]] = {}
    for verdict, dataset in verdicts:
        by_verdict.setdefault(verdict, []).append(dataset)
    return ", but ".join(f"{verdict} on {_listed(of)}" for verdict, of in by_verdict.items())


def _listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
