"""The one loop: batches in an order that the seed gives, one step each, the best kept, and every
epoch on disk so that a run that was killed goes on to the same bits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from regraft.errors import TrainingError, UsageError
from regraft.training import acceleration, checkpoint, optim, schedules
from regraft.training.examples import Labelled, Rows
from regraft.training.history import Epoch, History, State, copied, measured
from regraft.training.stepping import NotFiniteError, Stepper
from regraft.training.weight_average import mean_of
from regraft.wording import count

# After a loss that is no number: once more from the last good epoch, with rates times this.
GENTLER = 0.1

OnEpoch = Callable[[Epoch], None]
OnStep = Callable[[int, int], None]


class Trainer:
    """Takes all steps of a training; `run` goes through the epochs, from a checkpoint if there is
    one.

    Parameters
    ----------
    stepper : Stepper
        Of the module and the examples that it learns from.
    choose : Labelled or None
        The examples that choose; without any the last epoch counts as the best.
    folder : Path or None
        Where the checkpoints go; None keeps none.
    identity : str
        Of this very training: a checkpoint of another one is not gone on with.
    """

    def __init__(
        self,
        stepper: Stepper,
        choose: Labelled | None,
        *,
        folder: Path | None = None,
        identity: str = "",
        on_epoch: OnEpoch = lambda epoch: None,
        on_step: OnStep = lambda done, total: None,
    ) -> None:
        self.stepper, self.choose = stepper, choose
        self.model, self.learn, self.settings = stepper.model, stepper.learn, stepper.settings
        self.accelerator = stepper.accelerator
        self.folder, self.identity = folder, identity
        self.on_epoch, self.on_step = on_epoch, on_step
        self.n_epochs = int(self.settings.epochs or 0)
        self.steps_per_epoch = math.ceil(len(self.learn.y) / stepper.images_per_step)
        self.rate_factor, self.n_retries = 1.0, 0
        self.recent: list[State] = []
        self.history = History(notes=stepper.notes)
        self._best_value = math.inf
        self._best_in_memory: State | None = None

    def run(self) -> History:
        """All epochs that are still to be done.

        Raises
        ------
        TrainingError
            The loss is not finite, twice.
        """
        self.stepper.prepare()
        saved = self._restore()
        if saved is None:
            self._remember_good()
        history = self.history
        n_steps = (self.n_epochs - len(history.epochs)) * self.steps_per_epoch
        was_compiled = bool(saved.meta["compiled"]) if saved else None
        self.stepper.compile(n_steps, before=was_compiled)
        while len(history.epochs) < self.n_epochs and not self._is_enough():
            self._one_epoch()
        history.compiled = self.stepper.compiled
        history.last = self._state()
        history.best = self._read_best() or history.last
        history.average = mean_of(self.recent) if len(self.recent) > 1 else history.last
        return history

    # -- one epoch ---------------------------------------------------------------------------

    def _one_epoch(self) -> None:
        epoch, start = len(self.history.epochs), time.perf_counter()
        self.stepper.let_learn(body=epoch >= self._head_epochs)
        try:
            loss, accuracy = self._learn(epoch)
        except NotFiniteError as error:
            self._go_back(error)
            return
        seconds = time.perf_counter() - start
        held_out = self._held_out()
        value = self._worth(held_out, len(self.history.epochs))
        is_best = value < self._best_value
        done = Epoch(
            epoch=epoch + 1,
            seconds=seconds,
            images_per_second=len(self.learn.y) / max(seconds, 1e-9),
            loss=loss,
            accuracy=accuracy,
            held_out_loss=held_out[0] if held_out else None,
            held_out_accuracy=held_out[1] if held_out else None,
            rate=self._rate(epoch, self.steps_per_epoch - 1),
            is_best=is_best,
        )
        self.history.epochs.append(done)
        if is_best:
            self._best_value = value
        self.recent = [*self.recent, self._state()][-self.settings.average_last :]
        self._remember_good()
        self._save(is_best)
        self.on_epoch(done)

    def _learn(self, epoch: int) -> tuple[float, float]:
        self.model.train()
        if epoch < self._head_epochs and self.model.body is not None:
            self.model.body.eval()
        order = np.random.default_rng([self.stepper.seed, epoch, 1]).permutation(len(self.learn.y))
        size = self.stepper.images_per_step
        steps: list[Rows] = [order[i : i + size] for i in range(0, len(order), size)]
        total_loss = total_right = 0.0
        for step, (rows, inputs) in enumerate(self.stepper.inputs(steps, epoch)):
            factor = self._factor(epoch, step)
            loss, right = self.stepper.take(epoch, step, steps[step], rows, inputs, factor=factor)
            total_loss, total_right = total_loss + loss, total_right + right
            self.on_step(epoch * len(steps) + step + 1, self.n_epochs * len(steps))
        last = len(steps) - 1
        self.stepper.require_finite_weights(epoch, last, factor=self._factor(epoch, last))
        acceleration.agree_on_statistics(self.accelerator, self.model)
        if self.accelerator.num_processes > 1:
            sums = torch.tensor([total_loss, total_right], dtype=torch.float64)
            summed = self.accelerator.reduce(sums.to(self.accelerator.device), reduction="sum")
            total_loss, total_right = (float(v) for v in summed.cpu())
        return total_loss / float(self.learn.weight.sum()), total_right / len(self.learn.y)

    # -- rates and phases --------------------------------------------------------------------

    def _rate(self, epoch: int, step: int) -> float:
        """The body's rate in this step."""
        return self.stepper.rate * self._factor(epoch, step)

    def _factor(self, epoch: int, step: int) -> float:
        """On every highest rate. The head's own phase has a constant rate."""
        first = min(self._head_epochs, self.n_epochs)
        if epoch < first:
            return self.rate_factor
        return self.rate_factor * schedules.rate(
            self.settings.schedule,
            (epoch - first) * self.steps_per_epoch + step,
            (self.n_epochs - first) * self.steps_per_epoch,
            warmup=self.settings.warmup,
            gamma=self.settings.gamma,
            step_size=self.settings.step_epochs * self.steps_per_epoch,
        )

    @property
    def _head_epochs(self) -> int:
        return math.ceil(self.settings.unfreeze)

    def _is_enough(self) -> bool:
        patience, best = self.settings.patience, self.history.best_epoch
        return bool(patience) and len(self.history.epochs) - best >= patience > 0

    # -- choosing ----------------------------------------------------------------------------

    def _held_out(self) -> tuple[float, float, float] | None:
        """Loss, accuracy and balanced accuracy on the images that choose."""
        if self.choose is None:
            return None
        own = self._swap_in_average()
        logits = self.stepper.scores(self.choose.examples)
        if own is not None:
            self.model.load_state_dict(own)
        return measured(logits, self.choose.y)

    def _worth(self, held_out: tuple[float, float, float] | None, epoch: int) -> float:
        """The smaller the better."""
        if held_out is None or self.settings.keep == "last":
            return -epoch - 1.0
        loss, accuracy, balanced = held_out
        worth = {"loss": loss, "accuracy": -accuracy, "balanced-accuracy": -balanced}
        return worth[self.settings.keep]

    # -- states ------------------------------------------------------------------------------

    @property
    def _average(self) -> Any:
        return self.stepper.moving_average

    def _state(self) -> State:
        """Of the model, or of its moving average where there is one."""
        averaged = self.model if self._average is None else self._average.module
        return copied(averaged.state_dict())

    def _swap_in_average(self) -> State | None:
        if self._average is None:
            return None
        own = copied(self.model.state_dict())
        self.model.load_state_dict(self._average.module.state_dict())
        return own

    def _remember_good(self) -> None:
        """The state to go back to after a loss that is no number."""
        own = optim.optimizer_state(self.stepper.optimizer)
        self._good = copied(self.model.state_dict()), own, self._averaged()

    def _averaged(self) -> State:
        """All that the moving average needs to go on."""
        return {} if self._average is None else copied(self._average.state_dict())

    def _go_back(self, error: NotFiniteError) -> None:
        epoch, step, loss, rate = error.args
        if self.n_retries:
            raise TrainingError(
                f"the loss became {loss} in epoch {epoch + 1}, step {step + 1}, and again with "
                f"a tenth of the rate ({rate:.2g})",
                cure="a smaller --learning-rate; --precision fp32; or look at the pictures of "
                "that batch with `regraft check`",
            )
        self.n_retries, self.rate_factor = 1, GENTLER
        state, own, average = self._good
        self.model.load_state_dict(state)
        self._restore_optimizer(*own)
        if self._average is not None:
            self._average.load_state_dict(average)
        self.history.notes.append(
            f"the loss became {loss} in epoch {epoch + 1}, step {step + 1}; went back to the end "
            f"of epoch {epoch} and on with a tenth of the rate"
        )

    def _save(self, is_best: bool) -> None:
        if self.folder is None or self.accelerator.process_index > 0:
            if is_best and self.folder is None:
                self._best_in_memory = self._state()
            return
        meta: dict[str, Any] = {
            "identity": self.identity,
            "epochs": [e.to_dict() | {"seconds": e.seconds} for e in self.history.epochs],
            "best": None if math.isinf(self._best_value) else self._best_value,
            "rate_factor": self.rate_factor,
            "retries": self.n_retries,
            "micro_batch": self.stepper.micro_batch,
            "compiled": self.stepper.is_compiled,
            "notes": self.history.notes,
        }
        if is_best:
            checkpoint.write(self.folder / checkpoint.BEST, {"model": self._state()}, meta)
        tensors, meta["optimizer"] = optim.optimizer_state(self.stepper.optimizer)
        meta["recent"] = len(self.recent)
        parts = {
            "model": self.model.state_dict(),
            "optimizer": tensors,
            "average": self._averaged(),
        }
        parts |= {f"recent.{i}": state for i, state in enumerate(self.recent)}
        checkpoint.write(self.folder / checkpoint.LAST, parts, meta)

    def _restore(self) -> checkpoint.Saved | None:
        """Go on from the last checkpoint of this very training, if there is one."""
        saved = checkpoint.read(self.folder / checkpoint.LAST) if self.folder else None
        if saved is None:
            return None
        if saved.meta.get("identity") != self.identity:
            self.stepper.say(
                f"the checkpoints in {str(self.folder)!r} are of another training: this one "
                "begins at epoch 1"
            )
            return None
        averaged = saved.part("average")
        if self._average is not None and not averaged:
            return None  # an older Regraft kept it in another way
        if len(saved.meta["epochs"]) > self.n_epochs:
            raise UsageError(
                f"this run has gone through {count(len(saved.meta['epochs']), 'epoch')} already, "
                f"{self.n_epochs} were asked for",
                place=str(self.folder),
                cure="another --run name keeps both; or remove that folder",
            )
        self.model.load_state_dict(saved.part("model"))
        self._restore_optimizer(saved.part("optimizer"), saved.meta["optimizer"])
        if self._average is not None:
            self._average.load_state_dict(averaged)
        self.recent = [saved.part(f"recent.{i}") for i in range(saved.meta["recent"])]
        self.history.epochs = [Epoch(**epoch) for epoch in saved.meta["epochs"]]
        self.history.notes[:] = saved.meta["notes"]
        self.history.resumed_at = len(self.history.epochs)
        best = saved.meta["best"]
        self._best_value = math.inf if best is None else float(best)
        self.rate_factor, self.n_retries = saved.meta["rate_factor"], saved.meta["retries"]
        self.stepper.micro_batch = saved.meta["micro_batch"]
        self._remember_good()
        if self.history.resumed_at < self.n_epochs:
            done = self.history.resumed_at
            self.stepper.say(f"going on after epoch {done}, where the run was stopped")
        return saved

    def _restore_optimizer(self, tensors: State, meta: dict[str, Any]) -> None:
        if not tensors:  # before the first step an optimiser has nothing to remember
            self.stepper.optimizer.state.clear()
            return
        optim.restore_optimizer(self.stepper.optimizer, tensors, meta)

    def _read_best(self) -> State | None:
        acceleration.wait(self.accelerator)
        if self.folder is None:
            return self._best_in_memory
        saved = checkpoint.read(self.folder / checkpoint.BEST)
        if saved is None or saved.meta.get("identity") != self.identity:
            return None
        return saved.part("model")
