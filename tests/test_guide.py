"""The loop of docs/losses.md runs as it stands, and learns."""

import re
from pathlib import Path

PAGE = (Path(__file__).parent.parent / "docs/losses.md").read_text(encoding="utf-8")
CODE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_loop_runs_and_learns() -> None:
    (loop,) = [code for code in CODE if "optimizer.step()" in code]
    assert len([line for line in loop.splitlines() if line]) <= 30
    names: dict[str, object] = {}
    exec(loop, names)
    losses = names["losses"]
    assert isinstance(losses, list) and len(losses) == 100
    assert losses[-1] < 0.75 * losses[0]


def test_every_name_of_the_page_exists() -> None:
    from mmts import losses, modulators, schedule, shift
    from mmts.losses import arctanh, clip_loss, cyclip, ranks, siglip, sogclr

    homes = (losses, modulators, schedule, shift, arctanh, clip_loss, cyclip, ranks, siglip, sogclr)
    quoted = re.findall(r"`(?:[\w.]+\.)?([A-Za-z]\w*)(?:\([^`]*\))?`", PAGE)
    known = {name for home in homes for name in dir(home)}
    ours = {"info_nce", "max_margin", "tau_base", "per_sample_tau", "cluster_shift", "ClipLoss",
            "InfoNCE", "MaxMargin", "SogCLR", "SigLIP", "CyCLIP", "TempNet", "LearnableTau",
            "IndividualTau", "ScheduledShift", "arctanh_info_nce",
            "gather_with_gradient"}  # fmt: skip
    assert ours <= set(quoted) and ours <= known
