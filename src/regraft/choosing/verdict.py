"""The verdict: whether a score may be trusted for new photographs of the kind that was tested.

The rule, in full. Every check (:mod:`regraft.choosing.trust`) has a weight, and the heaviest
decides: one that weighs *no* makes the verdict no, else one that weighs *care* makes it with care,
else it is yes. Nothing is added up, and nothing good makes up for what is bad.

No:

- a finding about the data that is an error;
- more than a fifth of the test has a copy in train;
- the test is surely more than 10 points below left-out training images (the interval of the
  difference);
- not clearly better than always answering one class, neither by accuracy (paired) nor with every
  class counted alike;
- so few scored images that the interval of accuracy is wider than 40 points;
- the file format alone tells every class;
- of the left-out training images that the model is surest of, surely more than a tenth have another
  label;
- layers that were to stay frozen have moved.

With care:

- the test differs from left-out training images by more than chance and by at least 3 points, or
  these are no better than guessing;
- more than a tenth of the test has a copy in train, or these add more than half a point to the
  score;
- files or groups give the class away without the motif (format, colour mode, size; groups in
  several splits);
- fewer than 30 scored images, or an interval wider than 15 points;
- a class with fewer than 20 scored images, or with a recall whose interval is wider than 30 points;
- a class whose recall is surely below one half;
- accuracy no better than always answering one class, though with every class counted alike it is;
- worse than the nearest training image (paired), or no better while below 90 %;
- probabilities that are off by 5 points or more, in an interval that excludes none;
- a promise missed by more than chance, of the images that tested it and of those that set its
  level: the coverage of sets (95 %), false alarms of "none of these" (2 %);
- the same of surely more than 3 %;
- more than a fiftieth of the files could not be read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from regraft.choosing import next_step, trust
from regraft.choosing.next_step import Step
from regraft.choosing.trust_check import Check
from regraft.wording import count

Answer = Literal["yes", "with care", "no"]
ANSWERS: Mapping[str, Answer] = {"good": "yes", "care": "with care", "bad": "no"}
WEIGHTS = {"good": "none", "care": "care", "bad": "no"}


@dataclass(frozen=True)
class Verdict:
    """Whether a score is to be trusted, why, and what to do next.

    Attributes
    ----------
    answer : {'yes', 'with care', 'no'}
    checks : list of Check
        All that was looked at, what weighs most first.
    steps : list of Step
        What to do next, as the answer asks for.
    """

    answer: Answer
    checks: list[Check]
    steps: list[Step]

    @property
    def sentence(self) -> str:
        """The answer, and every reason that weighs, what weighs most first, in one sentence.

        Examples
        --------
        >>> Verdict("yes", [Check("good", "No copies between the splits", "")], []).sentence
        'Yes: 1 check found nothing against it.'
        >>> Verdict("no", [Check("bad", "Frozen layers moved", "")], []).sentence
        'No: frozen layers moved.'
        """
        if self.answer == "yes":
            told = "".join(f"; {check.title}" for check in self.checks if check.is_told)
            return f"Yes: {count(len(self.checks), 'check')} found nothing against it{told}."
        named = [check.title[:1].lower() + check.title[1:] for check in self.weighty]
        return f"{self.answer.capitalize()}: {'; '.join(named)}."

    @property
    def weighty(self) -> list[Check]:
        """What speaks against it, in the order in which terminal, page and JSON name it."""
        return [check for check in self.checks if check.state != "good"]

    def to_dict(self) -> dict[str, Any]:
        """The ``verdict`` of metrics.json and ``--json``."""
        return {
            "answer": self.answer,
            "sentence": self.sentence,
            "reasons": [
                {
                    "kind": c.kind,
                    "weight": WEIGHTS[c.state],
                    "title": c.title,
                    "text": c.text,
                    "told": c.is_told,
                }
                for c in self.checks
            ],
            "next": [asdict(step) for step in self.steps],
        }


def verdict(
    metrics: Mapping[str, Any], findings: Sequence[Mapping[str, Any]], *, options: str = ""
) -> Verdict:
    """From what a run measured and found to whether its score is to be trusted; nothing is read.

    Parameters
    ----------
    metrics : dict
        As in metrics.json.
    findings : sequence of dict
        As in findings.json.
    options : str
        That other commands on the same data need, such as ``" --label-column kind"``.
    """
    found = trust.checks(metrics, findings)
    answer = ANSWERS[found[0].state]
    return Verdict(answer, found, next_step.steps(metrics, findings, found, options=options))
