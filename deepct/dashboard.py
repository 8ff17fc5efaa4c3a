"""The dashboard on Weights & Biases, laid out: ``deepct dashboard``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from deepct.errors import DeepctError

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Workspace

NAME = "deepct"
"""The saved view's name."""

LOSSES = {
    "image_loss": "image loss",
    "histogram_loss": "histogram loss, λ included",
    "multiscale_loss": "multi-scale loss, λ included",
    "delta_e_loss": "delta E loss, λ included",
}
"""The terms of the loss, and what their plots are called."""

SCHEDULE = ("lr", "alpha", "lambda_histogram", "lambda_multiscale", "lambda_delta_e", "identical_weight")
"""What changes over a training, below ``schedule``."""

PACE = {
    "pace/photos_per_second": "photos a second",
    "pace/data_share": "share of the time spent waiting for photos",
    "memory/host_gib": "host memory, GiB",
    "memory/device_gib": "GPU memory, most so far, GiB",
}
"""Speed and memory."""

MEASURES = ("loss", "image_loss", "delta_e_mean", "psnr", "ssim", "mirrored_loss")
"""What the plots of a test show, below ``test``."""

_STEP = "trainer/global_step"


def build_workspace(entity: str, project: str, students: Sequence[str] = ()) -> "Workspace":
    """Lay out the dashboard of a project.

    Student and teacher share the axes of each plot. What the teacher loses on the student's own pairs is drawn dashed,
    as in the report's figures 4 and 5.

    Args:
        entity: the user or team on W&B.
        project: the project.
        students: ids of the students' runs, whose lines of the teacher's level are to be dashed.
    """
    from wandb_workspaces import workspaces
    from wandb_workspaces.reports import v2 as panels

    def plot(title: str, *keys: str) -> Any:
        marks = {f"{run}:{key}": "dashed" for run in students for key in keys if "/teacher_" in key}
        return panels.LinePlot(title=title, x=_STEP, y=[*keys], line_marks=marks or None)

    def losses(stage: str) -> list[Any]:
        terms = [plot(f"{title}, {stage}", f"{stage}/{key}", f"{stage}/teacher_{key}") for key, title in LOSSES.items()]
        hard = plot(f"hard loss, {stage}", f"{stage}/loss", f"{stage}/hard_loss", f"{stage}/teacher_loss")
        return [hard, *terms, plot(f"delta E 2000, {stage}", f"{stage}/delta_e")]

    def soft(stage: str) -> list[Any]:
        names = {"loss": "soft loss", **{key: f"soft {title}" for key, title in LOSSES.items()}}
        return [plot(f"{title}, {stage}", f"{stage}/soft_{key}") for key, title in names.items()]

    media = [panels.MediaBrowser(title=title, media_keys=[key]) for key, title in _MEDIA.items()]
    parts = {
        "Validation": losses("val"),
        "Pictures": media,
        "Validation pairs": [panels.WeavePanelSummaryTable(table_name="val/pairs")],
        "Training": losses("train"),
        "Distillation": [*soft("val"), *soft("train")],
        "Schedule": [plot(key, f"schedule/{key}") for key in SCHEDULE],
        "Speed and memory": [plot(title, key) for key, title in PACE.items()],
        "Test": [
            *(panels.BarPlot(title=key, metrics=[f"test/{key}"]) for key in MEASURES),
            panels.WeavePanelSummaryTable(table_name="test/pairs"),
        ],
    }
    sections = [
        workspaces.Section(name=name, panels=shown, is_open=index < 4)
        for index, (name, shown) in enumerate(parts.items())
    ]
    return workspaces.Workspace(entity=entity, project=project, name=NAME, sections=sections)


_MEDIA = {
    "demo_pairs": "the demo pairs, with the histograms that HEN sees",
    "val/labels": "validation photos with their label maps",
    "test/extremes": "the pairs of largest and of smallest loss",
}


def dashboard(project: str = "deepct", entity: str | None = None, view: str | None = None) -> int:
    """Lay out the dashboard of a project on Weights & Biases, as a saved view that all who see the project can open.

    Args:
        project: The project that trainings are logged to.
        entity: The user or team; by default that of the login.
        view: Address of a view that was laid out before, to lay out anew; by default a new one is saved.

    Returns:
        The exit status, 0.

    Raises:
        DeepctError: W&B is not installed, nobody is logged in, or it cannot be reached.
    """
    try:
        import wandb
        import wandb_workspaces.workspaces
    except ImportError as error:
        raise DeepctError("the dashboard needs Weights & Biases: pip install 'deepct[wandb]'") from error
    if not wandb.login(prompt=False):
        raise DeepctError("not logged in to Weights & Biases: `wandb login`, then lay out the dashboard")
    try:
        api = wandb.Api()
        owner = entity or str(api.default_entity)
        kinds = {
            run.id: str(run.config.get("model", {}).get("class_path", "")) for run in api.runs(f"{owner}/{project}")
        }
        students = [run for run, kind in kinds.items() if kind.endswith("Student")]
        laid_out = build_workspace(owner, project, students)
        if view is not None:
            before = wandb_workspaces.workspaces.Workspace.from_url(view)
            before.sections = laid_out.sections
            laid_out = before
        laid_out.save()
    except (wandb.Error, ValueError, OSError) as error:
        raise DeepctError(
            f"{project}: the dashboard cannot be laid out ({error}); log a training to it first"
        ) from error
    print(f"dashboard of {len(kinds)} runs: {laid_out.url}")
    print(f"when there are new students: deepct dashboard --project {project} --view '{laid_out.url}'")
    return 0
