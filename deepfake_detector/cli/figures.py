"""Figures as the command line prints them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from deepfake_detector.cli.say import say


def summary_lines(s: dict[str, Any]) -> tuple[str, str]:
    """A summary's figures on two lines."""
    number = {name: "–" if s[name] is None else f"{s[name]:.4f}" for name in ("auroc", "ap", "eer", "tpr_at_1_fpr", "tpr_at_5_fpr", "ece")}
    return (
        f"Accuracy {s['accuracy']:.4f}  AUROC {number['auroc']}  AP {number['ap']}  EER {number['eer']}  "
        f"TPR at 1 % FPR {number['tpr_at_1_fpr']}, at 5 % {number['tpr_at_5_fpr']}  ECE {number['ece']}",
        f"Unsure about {percent(s['abstain_rate']).strip()}; wrong in {percent(s['error_among_answered']).strip()} of the rest  "
        f"({s['n_real']} real, {s['n_fake']} fake)",
    )


def percent(value: float | None) -> str:
    return "     –" if value is None else f"{100 * value:5.1f}%"


def print_sources(report: dict[str, Any]) -> None:
    say("", f"{'generator':28} {'n':>6} {'AUROC':>7} {'called fake':>12} {'unsure':>7} {'called real':>12}")
    for name, s in report["generators"].items():
        area = "–" if s["auroc"] is None else f"{s['auroc']:.3f}"
        say(f"{name:28} {s['n']:6} {area:>7} {percent(s['fake']):>12} {percent(s['unsure']):>7} {percent(s['real']):>12}")
    say("", f"{'real source':28} {'n':>6} {'':7} {'called fake':>12} {'unsure':>7} {'called real':>12}")
    for name, s in report["real_sources"].items():
        say(f"{name:28} {s['n']:6} {'':7} {percent(s['fake']):>12} {percent(s['unsure']):>7} {percent(s['real']):>12}")
    for name, s in report["kinds"].items():
        first, *more = summary_lines(s)
        say("", f"{name}: {first}", *more)


def print_clips(scores: dict[str, Any]) -> None:
    if "videos" in scores:
        say("", "Whole clips, the log-odds of their frames averaged:", *summary_lines(scores["videos"]["overall"]))
        print_sources(scores["videos"])


def print_families(answers: dict[str, dict[str, Any]]) -> None:
    if answers:
        say("", f"{'which family? of those called fake':40} {'n':>6} {'right':>7} {'wrong':>7} {'unknown':>8}")
    for generator, a in answers.items():
        right, wrong, unknown = (percent(a[key]).strip() for key in ("right", "wrong", "unknown"))
        name = f"{generator} ({a['family']}{'' if a['learnt_from'] else ', never learnt from'})"
        say(f"{name:40} {a['n']:6} {right:>7} {wrong:>7} {unknown:>8}")


def print_views(robustness: dict[str, Any] | None) -> None:
    if robustness:
        say("", f"{'view':28} {'n':>6} {'AUROC':>7} {'unsure':>12} {'a real verdict changes':>23} {'comes to be fake':>17}")
        for name, v in robustness["views"].items():
            area = "–" if v["auroc"] is None else f"{v['auroc']:.3f}"
            unsure, changed, flipped = (percent(v[key]) for key in ("abstain_rate", "real_changed", "real_flipped"))
            say(f"{name:28} {robustness['pictures']:6} {area:>7} {unsure:>12} {changed:>23} {flipped:>17}")


def print_protocols(done: Iterable[dict[str, Any]]) -> None:
    for protocol in done:
        title = f"{protocol['protocol']}: {protocol['head']} on {protocol['encoder']}, trained anew each time"
        if "promised" in protocol:
            say("", title)
            _print_promise(protocol)
            continue
        mean = "–" if protocol["mean_auroc"] is None else f"{protocol['mean_auroc']:.3f}"
        say("", f"{title}; mean AUROC {mean}")
        for row in protocol["rows"]:
            area = "–" if row["auroc"] is None else f"{row['auroc']:.3f}"
            if interval := row["intervals"]["auroc"]:
                area += f" [{interval[0]:.3f}, {interval[1]:.3f}]"
            more = "".join(
                f"  {words} {percent(row[key]).strip()}"
                for key, words in (("fpr_at_known_5", "called fake where 5 % of known reals are:"), ("pairs_won", "pairs won:"))
                if key in row
            )
            found = f"found at 5 % FPR {percent(row['tpr_at_5_fpr'])}"
            say(f"{row['held_out']:28} {row['n']:6} AUROC {area}  {found}{more}")


def _print_promise(protocol: dict[str, Any]) -> None:
    from deepfake_detector.report.words import promise_on_unseen

    say(promise_on_unseen(protocol))
    say(f"{'left out':28} {'n':>6} {'called fake':>12} {'unsure':>7} {'called real':>12}   called {protocol['wrong']}, 95 % interval")
    for row in protocol["rows"]:
        low, high = map(percent, row["interval"] or (None, None))
        shares = f"{percent(row['fake']):>12} {percent(row['unsure']):>7} {percent(row['real']):>12}"
        say(f"{row['held_out']:28} {row['n']:6} {shares}   [{low.strip()}, {high.strip()}]  {row['answer']}")
