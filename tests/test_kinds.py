"""A mistake in the file of a kind is told on a line that names the file, and what to do."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests import patience
from tests.examples.adding import tiny
from tests.pipeline.project import Project

pytestmark = pytest.mark.long
EXAMPLES = ("decoupled", "hdbscan", "numbers", "per_cluster", "root", "triangle", "uniformity",
            "reciprocal_rank", "rerank")  # fmt: skip
METHODS = ["info_nce", "decoupled", "info_nce_per_cluster", "info_nce_uniform", "triangle_ts"]
DECOUPLED, TRIANGLE, NUMBERS, UNIFORMITY, PER_CLUSTER, HDBSCAN, RERANK = (
    f"mmts/kinds/{name}.py"
    for name in ("objective/decoupled", "schedule/triangle", "stream/numbers", "term/uniformity",
                 "modulator/per_cluster", "clustering/hdbscan", "rerank/shared_words")
)  # fmt: skip
BUILD = "        return decoupled\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, warm_commands: Path) -> Project:
    """A project with all examples, whose plan is made."""
    found = tiny(tmp_path_factory.mktemp("kinds"), *EXAMPLES, methods=METHODS)
    table = found.folder / "data/raw/my_pairs/captions.csv"
    lines = table.read_text().splitlines()
    ending = [",readings", *[",1 2 3 4 5 6"] * (len(lines) - 1)]
    table.write_text("".join(f"{a}{b}\n" for a, b in zip(lines, ending, strict=True)))
    found.use(warm_commands)
    assert "is fine" in found.run("python -m stages.plan")
    return found


def planned(project: Project) -> str:
    """What `plan` prints, whether it is well or not."""
    done = subprocess.run(
        ["python", "-m", "stages.plan"],
        cwd=project.folder, env=project.env, text=True, stdin=subprocess.DEVNULL, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=patience.seconds(100),
    )  # fmt: skip
    return done.stdout


def with_mistake(project: Project, file: str, old: str, new: str) -> list[str]:
    """Return what `plan` says while a text of a file is another; all of its lines."""
    path = project.folder / file
    text = path.read_text()
    assert text.count(old) == 1, (file, old, text.count(old))
    path.write_text(text.replace(old, new))
    shutil.rmtree(path.parent / "__pycache__", ignore_errors=True)  # of a file of the same second
    try:
        return planned(project).splitlines()
    finally:
        path.write_text(text)
        shutil.rmtree(path.parent / "__pycache__", ignore_errors=True)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        # imports
        (DECOUPLED, "from mmts.kinds.objective import", "from mmts.kinds.objectives import",
         " line 7: ModuleNotFoundError: No module named 'mmts.kinds.objectives'; mend the file"),
        (DECOUPLED, "import ObjectiveKind", "import Objectives",
         " line 7: ImportError: cannot import name 'Objectives' from 'mmts.kinds.objective' "),
        (DECOUPLED, "class Kind(ObjectiveKind)", "class Kind(ObjectivKind)",
         " line 57: NameError: name 'ObjectivKind' is not defined; mend the file"),
        (DECOUPLED, "class Kind(ObjectiveKind)", "class Other(ObjectiveKind)",
         " has no class Kind(ObjectiveKind); write one"),
        (TRIANGLE, "from typing import Literal\n",
         "from typing import Literal\nimport mmts.kinds.nothing\n",
         " line 6: ModuleNotFoundError: No module named 'mmts.kinds.nothing'; mend the file"),
        (DECOUPLED, "    check_pairs(vision, text)\n", "    check_pairs(vision, text\n",
         " line 35: SyntaxError: '(' was never closed; mend the file"),
        (DECOUPLED, "    check_pairs(vision, text)\n", "     check_pairs(vision, text)\n",
         " line 35: IndentationError: unexpected indent; mend the file"),
        # facts
        (DECOUPLED, '    label = "', '    lable = "',
         " line 57: lable is no fact of ObjectiveKind, and a setting needs a type; did you mean "
         "label? there are: by_row, label, learns_tau, quantity, temperature_free; mend the file"),
        (DECOUPLED, '    label = "decoupled InfoNCE"\n', "",
         ": its Kind has no label; write `label = ...` into it"),
        (DECOUPLED, '    label = "decoupled InfoNCE"', "    label = 5",
         ": label of its Kind is 5; input should be a valid string"),
        (DECOUPLED, '    label = "', '    label: str = "',
         ": label is a fact, which has no type; write `label = ...`, without one"),
        (DECOUPLED, '    label = "', '    quantity = "margins"\n    label = "',
         ": quantity of its Kind is 'margins'; input should be 'temperature' or 'margin'"),
        (PER_CLUSTER, "    by_row = True", "    by_row: bool = True",
         ": by_row is a fact, which has no type; write `by_row = ...`, without one"),
        (PER_CLUSTER, "    by_row = True", '    by_row = "yes"',
         ": by_row of its Kind is 'yes'; input should be a valid boolean"),
        # methods
        (DECOUPLED, "    def build(", "    def built(",
         ": its Kind lacks build; write it as ObjectiveKind describes it"),
        (TRIANGLE, "    def value(", "    def values(",
         ": its Kind lacks value; write it as ScheduleKind describes it"),
        (PER_CLUSTER, "    def build(", "    def make(",
         ": its Kind lacks build; write it as ModulatorKind describes it"),
        (UNIFORMITY, "    def build(", "    def make(",
         ": its Kind lacks build; write it as TermKind describes it"),
        (HDBSCAN, "    def cluster(", "    def clusters(",
         ": its Kind lacks cluster; write it as ClusteringKind describes it"),
        (NUMBERS, "    def load(", "    def read(",
         ": its Kind lacks load; write it as StreamKind describes it"),
        (NUMBERS, "    def pack(", "    def packed(",
         ": its Kind has neither pack nor members; write pack"),
        (RERANK, "    def score(", "    def scores(",
         ": its Kind has neither score nor rescore; write score"),
        # schedules
        (TRIANGLE, "        return alpha * (from_middle - 0.5)",
         "        return alpha / (from_middle * 0)",
         " line 19: ZeroDivisionError: float division by zero; mend the file"),
        (TRIANGLE, "        return alpha * (from_middle - 0.5)", '        raise ValueError("odd")',
         " line 19: ValueError: odd; mend the file"),
        (TRIANGLE, "        return alpha * (from_middle - 0.5)", "        from_middle - 0.5",
         ": `value` of the schedule triangle gives None; let it give a number"),
        # streams
        (NUMBERS, "            dim = self.width\n", '            dim = {}["width"]\n',
         " line 51: KeyError: 'width'; mend the file"),
        # objectives
        (DECOUPLED, BUILD, "        return missing\n",
         " line 65: NameError: name 'missing' is not defined; mend the file"),
        (DECOUPLED, BUILD, "        pass\n",
         ": TypeError: 'NoneType' object is not callable; mend the file"),
        (DECOUPLED, "torch.stack(losses).mean()", "torch.stack(losses).mean(0)",
         ": the loss decoupled is a tensor of shape [8]; it must be a scalar tensor with a "
         "gradient; mend the file"),
        (DECOUPLED, "torch.stack(losses).mean()", "float(torch.stack(losses).mean())",
         ": the loss decoupled is a float; it must be a scalar tensor with a gradient; mend"),
        (DECOUPLED, "torch.stack(losses).mean()", "torch.stack(losses).mean().detach()",
         ": the loss decoupled is a tensor without a gradient; it must be a scalar tensor "),
        (DECOUPLED, ", positives: Tensor | None = None,", ",",
         ": TypeError: decoupled() got an unexpected keyword argument 'positives'; mend the file"),
        (DECOUPLED, "    return torch.stack(losses).mean()", "    return vision @ text",
         " line 54: RuntimeError: mat1 and mat2 shapes cannot be multiplied (8x4 and 8x4); mend"),
        # modulators
        (PER_CLUSTER, "        return PerCluster(", "        PerCluster(",
         ": its `build` gives a NoneType, and no nn.Module; mend the file"),
        (PER_CLUSTER, "self.log_above[batch.cluster_id])", "self.log_above)",
         ": temperature has shape (2,); it must be a number or [8]; mend the file"),
        (PER_CLUSTER, "scheduled.shift_of,", "scheduled.shifts,",
         " line 54: AttributeError: 'ScheduledShift' object has no attribute 'shifts'; mend the"),
        # terms
        (UNIFORMITY, "            return (uniformity(vision, self.t)",
         "            return [] + (uniformity(vision, self.t)",
         " line 37: TypeError: can only concatenate list (not \"Tensor\") to list; mend the file"),
        (UNIFORMITY, "            return (uniformity(vision, self.t)",
         "            return vision[0] + (uniformity(vision, self.t)",
         ": the loss uniformity is a tensor of shape [4]; it must be a scalar tensor with "),
        (UNIFORMITY, "        return term\n", "        return terms\n",
         " line 39: NameError: name 'terms' is not defined; mend the file"),
    ],
)  # fmt: skip
def test_it_is_told_in_the_plan(
    project: Project, file: str, old: str, new: str, message: str
) -> None:
    lines = with_mistake(project, file, old, new)
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"error: {file}{message}"), lines[0]
