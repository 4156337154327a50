"""The answer of a study in three sentences, each with what it rests on: made from its intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mmts.kinds import quantity
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
    """A difference of rsum with its 95 % interval, and what that allows to say."""
    verdict = "within the noise"
    if gain.clear:
        verdict = "a gain" if gain.value > 0 else "a loss"
    return f"{signed(gain.value)} [{bounds(gain)}], {verdict}"


def _gain(studies: Sequence[Rows]) -> Claim:
    verdicts: Verdicts = []
    evidence = []
    for rows in studies:
        gain = _gain_of(rows.chosen[rows.mmts], rows, "best")
        does = "beats" if gain.low > 0 else "is worse than" if gain.high < 0 else "does not beat"
        fixed = f"the best tuned fixed {quantity(rows.best)}"
        verdicts.append((f"{does} {fixed}", f"{rows.dataset} ({told(gain)})"))
        evidence.append(
            f"{rows.dataset}: the first sentence is about {rows.mmts} and {rows.best}, each the "
            "better of its kind on the validation split."
        )
    return Claim(f"Tuned MM-TS {_grouped(verdicts)}.", tuple(evidence))


def _pieces(studies: Sequence[Rows]) -> list[Claim]:
    """TS, ICS and the controls of the better MM-TS row."""
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
        controls = _controls(rows)
        if controls:
            sizes.append((_sizes(controls), rows.dataset))
        gains |= {f"{c} shifts over those by size": gain for c, gain in controls.items()}
        shown = (f"{label} {told(gain)}" for label, gain in gains.items())
        evidence.append(f"{rows.dataset}: {'; '.join(shown)}.")
    said = "; ".join(_grouped(verdicts) for verdicts in (added, sizes) if verdicts)
    return [Claim(f"{capital(said)}.", tuple(evidence))] if said else []


def _added(over_ts: Interval) -> str:
    if not over_ts.clear:
        return "MM-TS cannot be told from TS alone"
    return f"MM-TS is {'better' if over_ts.value > 0 else 'worse'} than TS alone"


def _sizes(controls: dict[str, Interval]) -> str:
    """What reversed and random shifts, less those by size, say about the sizes of the clusters."""
    worse = [control for control, gain in controls.items() if gain.high < 0]
    better = [control for control, gain in controls.items() if gain.low > 0]
    if better:
        return f"shifts that are {' and '.join(better)} do better than those by cluster size"
    if len(worse) == len(controls):
        return "the sizes of the clusters matter"
    if worse:
        return f"of other shifts than those by cluster size only {worse[0]} ones are clearly worse"
    return "there is no sign that the sizes of the clusters matter"


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
        verdicts.append((verdict, f"{rows.dataset} ({told(growth)})"))
        for what, part in (("all", None), ("tail", "tail")):
            start, end = (told(_gain_of(row, rows, "own", part)) for row in ends)
            more = (
                "" if part is None else f"; change {told(_gain_of(ends[1], rows, 'growth', part))}"
            )
            evidence.append(
                f"{rows.dataset}, info_nce_mmts over info_nce, {what} queries: {start}, at "
                f"imbalance {low}; {end}, at {high}{more}."
            )
    sentence = f"What MM-TS gains over a fixed temperature {_grouped(verdicts)}."
    return [Claim(sentence, tuple(evidence))] if evidence else []


def _controls(rows: Rows) -> dict[str, Interval]:
    """What each control gains over the better MM-TS row."""
    return {
        row.tested.entry.varied["control"]: _gain_of(row, rows, "chosen")
        for row in rows.by_table.get("controls", [])
        if row.tested.entry.name == rows.mmts and row.tested.entry.varied
    }


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
