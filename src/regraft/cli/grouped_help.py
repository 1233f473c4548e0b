"""Help in groups: what is typed most comes first, and fifty options are not one column."""

from __future__ import annotations

import click

# Of options, by the names of their parameters; one that stands nowhere comes last.
GROUPS: dict[str, tuple[str, ...]] = {
    "What to train on": (
        "label_from", "path_column", "label_column", "split_column", "group_column", "scale",
        "test_fraction", "seed",
    ),
    "How to learn": (
        "method", "backbone", "look", "image_size", "taps", "head", "class_weight", "weights",
        "mean", "std",
    ),
    "Where it runs": ("device", "offline", "runner", "features", "keep_files"),
    "Output": (
        "name", "out", "resume", "config", "dry_run", "no_report", "as_json", "quiet",
    ),
    "Learning by gradients: what learns, and for how long": (
        "recipe", "split_point", "epochs", "patience", "unfreeze", "batchnorm", "init_head",
        "hidden", "dropout",
    ),
    "Learning by gradients: steps": (
        "learning_rate", "head_rate", "batch_size", "accumulate", "optimizer", "momentum",
        "weight_decay", "l2_sp", "layer_decay", "schedule", "warmup", "step_epochs", "gamma",
        "loss", "label_smoothing", "focal_gamma", "clip", "ema",
    ),
    "Learning by gradients: pictures": (
        "augment", "views", "crop_scale", "degrees", "horizontal_flip", "vertical_flip", "mixup",
        "cutmix", "start_size",
    ),
    "Learning by gradients: what is kept": (
        "keep", "select_fraction", "interpolate", "average_last", "refit",
    ),
    "Learning by gradients: the computer": (
        "precision", "compile", "workers", "budget_gib", "tracker",
    ),
}  # fmt: skip
OTHERS = "Other options"


class Grouped(click.Command):
    """A command whose help shows its options in `GROUPS`."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """One section for each group that has options here."""
        place = {
            name: (group, n) for group, names in GROUPS.items() for n, name in enumerate(names)
        }
        sections: dict[str, list[tuple[int, tuple[str, str]]]] = {
            group: [] for group in (*GROUPS, OTHERS)
        }
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                group, n = place.get(str(parameter.name), (OTHERS, 0))
                sections[group].append((n, record))
        for group, rows in sections.items():
            if rows:
                with formatter.section(group):
                    formatter.write_dl([record for _, record in sorted(rows)])
