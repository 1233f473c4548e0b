"""A paragraph for a paper's methods section, with references, from a run's own numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from regraft.choosing import each_network, kept, measured
from regraft.training.methods import METHODS
from regraft.wording import count

REFERENCES = {
    "efficientnet": "Tan M, Le Q (2019) EfficientNet: rethinking model scaling for convolutional "
    "neural networks. ICML.",
    "resnet": "He K et al. (2016) Deep residual learning for image recognition. CVPR.",
    "vit": "Dosovitskiy A et al. (2021) An image is worth 16x16 words. ICLR.",
    "swin": "Liu Z et al. (2021) Swin transformer. ICCV.",
    "convnext": "Liu Z et al. (2022) A ConvNet for the 2020s. CVPR.",
    "mobilenet": "Howard A et al. (2019) Searching for MobileNetV3. ICCV.",
    "densenet": "Huang G et al. (2017) Densely connected convolutional networks. CVPR.",
    "vgg": "Simonyan K, Zisserman A (2015) Very deep convolutional networks. ICLR.",
    "regnet": "Radosavovic I et al. (2020) Designing network design spaces. CVPR.",
}
TIMM = "Wightman R (2019) PyTorch Image Models. doi:10.5281/zenodo.4414861."
TEMPERATURE = "Guo C et al. (2017) On calibration of modern neural networks. ICML."
WILSON = (
    "Wilson EB (1927) Probable inference, the law of succession, and statistical inference. "
    "J Am Stat Assoc 22:209-212."
)
LOO = (
    "Allen DM (1974) The relationship between variable selection and data augmentation and a "
    "method for prediction. Technometrics 16:125-127."
)
ONE_ERROR = "Breiman L et al. (1984) Classification and regression trees. Wadsworth."
LPFT = (
    "Kumar A et al. (2022) Fine-tuning can distort pretrained features and underperform "
    "out-of-distribution. ICLR."
)
WISE = "Wortsman M et al. (2022) Robust fine-tuning of zero-shot models. CVPR."
HEADS = {
    "pool": "a weighted sum of linear discriminants and ridge classifiers",
    "lda": "linear discriminant analysis with shrinkage",
    "ridge": "a ridge classifier",
    "logistic": "multinomial logistic regression",
    "svm": "a linear support vector machine",
    "ncm": "a nearest-class-mean classifier",
    "knn": "a k-nearest-neighbour classifier",
}


def paragraph(metrics: Mapping[str, Any], environment: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The text, and its references in the order in which they are called.

    Parameters
    ----------
    metrics : dict
        As in metrics.json.
    environment : dict
        As in run.json.
    """
    references: list[str] = []

    def cite(reference: str) -> str:
        if reference not in references:
            references.append(reference)
        return f"[{references.index(reference) + 1}]"

    backbone, data, evaluation = metrics["backbone"], metrics["data"], metrics["evaluation"]
    known = next((r for key, r in REFERENCES.items() if key in backbone["architecture"]), "")
    splits = ", ".join(f"{n:,} {name}" for name, n in data["splits"].items())
    sentences = [
        f"We classified {count(data['images'], 'image')} of "
        f"{count(len(data['classes']), 'class', 'classes')}"
        f"{_named(data['classes'])} ({splits}) with Regraft {environment.get('regraft', '')}.",
        f"{_subject(backbone)} {backbone['architecture']}{' ' + cite(known) if known else ''} "
        f"({backbone['origin'] or 'weights as given'}; digest {backbone['digest'][:16]}), "
        f"from timm {cite(TIMM)}.",
        *_learning(metrics, cite),
        _calibration(metrics["chosen"], cite),
        _score(evaluation, cite),
    ]
    return " ".join(sentences), references


def _subject(backbone: Mapping[str, Any]) -> str:
    n = len(backbone.get("networks", ()))
    return f"{n} networks stood side by side:" if n else "The network was"


def _calibration(chosen: Mapping[str, Any], cite: Any) -> str:
    temperature = f"{chosen['temperature']:.3g}"
    if not measured.is_calibrated(chosen):
        return (
            f"Probabilities were not calibrated, since no images could be left out for it (scores "
            f"were divided by {temperature})."
        )
    return (
        f"Probabilities were calibrated by one temperature ({temperature}) fitted to left-out "
        f"scores {cite(TEMPERATURE)}."
    )


def _named(classes: list[str]) -> str:
    """Their names, where they are few."""
    return f" ({', '.join(classes)})" if len(classes) <= 6 else ""


def _learning(metrics: Mapping[str, Any], cite: Any) -> list[str]:
    chosen, training = metrics["chosen"], metrics.get("training")
    names = {"source": "probabilities of the original classes", "final": "last features"}
    taps = each_network.in_words(
        chosen["taps"], lambda own: ", ".join(names.get(tap, tap) for tap in own)
    ) + each_network.look_in_words(metrics["backbone"])
    how = f"{HEADS.get(chosen['head'], chosen['head'])} on pooled activations ({taps})" + (
        f" with regularisation {chosen['strength']:.3g}" if chosen["strength"] is not None else ""
    )
    by = ""
    if chosen["candidates"]:
        by = (
            f" Stages, head and regularisation were chosen inside the training split by the log "
            f"loss of leave-one-out cross-validation {cite(LOO)}, after one temperature: the "
            f"simplest within one standard error of the best {cite(ONE_ERROR)}."
        )
    elif not measured.is_measured(chosen):
        by = " Stages and strength are defaults: no images could be left out to measure them."
    if training is None:
        several = "s" * bool(metrics["backbone"].get("networks"))
        return [f"The network{several} stayed frozen; we fitted {how}.{by}"]
    settings = training["settings"]
    part = METHODS[metrics["method"]].paper.format(split_point=settings["split_point"])
    start = f" The head began as {how} {cite(LPFT)}.{by}" if training["starts_from_probe"] else ""
    ended = ""
    if training["candidates"]:
        ended = (
            f" Start and end of training were interpolated (share {training['chosen']['alpha']:g} "
            f"of the end) {cite(WISE)}, chosen on "
            f"{count(training['held_out'], 'validation image')}."
        )
    if kept.keeps_probe(metrics):
        return [
            f"The network stayed frozen; we fitted {how}.{by} Fine-tuning ({part}; "
            f"{count(len(training['epochs']), 'epoch')}) did worse on "
            f"{count(training['held_out'], 'held-out image')} and was not used."
        ]
    return [
        f"By gradients {part}: {settings['optimizer'].upper()}, {settings['schedule']} schedule, "
        f"rate {settings['learning_rate']:g} (head {settings['head_rate']:g}), "
        f"{count(len(training['epochs']), 'epoch')} in batches of {settings['batch_size']}, "
        f"augmentation '{settings['augment']}', {settings['image_size']} px.{start}{ended}"
    ]


def _score(evaluation: Mapping[str, Any], cite: Any) -> str:
    accuracy = evaluation["accuracy"]
    level = f"{100 * accuracy['level']:g} %"
    return (
        f"On {evaluation['n']:,} {evaluation['split']} images, which chose nothing, accuracy was "
        f"{100 * accuracy['value']:.1f} % ({level} interval {100 * accuracy['low']:.1f} to "
        f"{100 * accuracy['high']:.1f} {cite(WILSON)}), balanced accuracy "
        f"{100 * evaluation['balanced_accuracy']['value']:.1f} %, log loss "
        f"{evaluation['log_loss']['value']:.3f}."
    )
