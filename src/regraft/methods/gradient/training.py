"""The one loop: batches in an order that the seed gives, one step each, the best kept, and every
epoch on disk so that a run that was killed goes on to the same bits.

Everything random is drawn from (seed, epoch, step), nothing from what happened before. Gradients
are sums over the images of a step divided by their total weight, so it does not matter into how
many parts, or over how many processes, a step's images are divided.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from regraft.errors import TrainingError, UsageError
from regraft.methods.base import Codes, Floats
from regraft.methods.gradient import checkpoint, compiling, devices, losses, optim, schedules
from regraft.methods.gradient.examples import Examples, Rows, prefetched
from regraft.methods.gradient.weight_average import MovingAverage, mean_of
from regraft.methods.settings import TrainingSettings

State = dict[str, torch.Tensor]
# After a loss that is no number: once more from the last good epoch, with rates times this.
GENTLER = 0.1


@dataclass(frozen=True)
class Labelled:
    """Examples with their classes and weights."""

    examples: Examples
    y: Codes
    weight: Floats


@dataclass(frozen=True)
class Epoch:
    """One row of log.jsonl.

    Attributes
    ----------
    epoch : int
        From 1.
    loss, accuracy : float
        Over the epoch's images as they were trained on (augmented, the weights moving).
    held_out_loss, held_out_accuracy : float or None
        On the images that choose; None without any.
    rate : float
        Of the body, at the end of the epoch.
    is_best : bool
    """

    epoch: int
    seconds: float
    images_per_second: float
    loss: float
    accuracy: float
    held_out_loss: float | None
    held_out_accuracy: float | None
    rate: float
    is_best: bool

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {k: round(v, 6) if isinstance(v, float) else v for k, v in vars(self).items()}


@dataclass
class History:
    """What the loop leaves: its epochs, and the states that may become the model.

    Attributes
    ----------
    best, last, average : dict of tensors
        Of the best epoch, the last one, and the mean of the last few. Those of the moving average
        where there is one.
    notes : list of str
        What went wrong and was healed.
    compiled : str
        Whether the steps were compiled, and why.
    """

    epochs: list[Epoch] = field(default_factory=list)
    best: State = field(default_factory=dict, repr=False)
    last: State = field(default_factory=dict, repr=False)
    average: State = field(default_factory=dict, repr=False)
    notes: list[str] = field(default_factory=list)
    compiled: str = ""
    resumed_at: int = 0

    @property
    def best_epoch(self) -> int:
        """From 1; 0 if there was none."""
        return max((e.epoch for e in self.epochs if e.is_best), default=0)


OnEpoch = Callable[[Epoch], None]
OnStep = Callable[[int, int], None]


class Trainer:
    """Trains a module on examples; `run` goes through all epochs, from a checkpoint if there is
    one.

    Parameters
    ----------
    model : nn.Module
        ``(x, earlier)`` to ``(N, K)`` logits.
    learn, choose : Labelled
        `choose` may be None: then the last epoch counts as the best.
    settings : TrainingSettings
        Resolved: nothing is None that the loop reads.
    groups : sequence of optim.Group
        Parameters with their rates.
    accelerator : accelerate.Accelerator
        Device, precision, processes.
    folder : Path or None
        Where the checkpoints go; None keeps none.
    identity : str
        Of this very training: a checkpoint of another one is not gone on with.
    """

    def __init__(
        self,
        model: nn.Module,
        learn: Labelled,
        choose: Labelled | None,
        settings: TrainingSettings,
        *,
        groups: Sequence[optim.Group],
        accelerator: Any,
        n_classes: int,
        seed: int = 0,
        folder: Path | None = None,
        identity: str = "",
        on_epoch: OnEpoch = lambda epoch: None,
        on_step: OnStep = lambda done, total: None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.model, self.learn, self.choose = model, learn, choose
        self.settings, self.seed, self.n_classes = settings, seed, n_classes
        self.accelerator, self.folder, self.identity = accelerator, folder, identity
        self.on_epoch, self.on_step, self.say = on_epoch, on_step, say
        self.n_epochs = int(settings.epochs or 0)
        step_images = settings.batch_size * settings.accumulate
        self.steps_per_epoch = math.ceil(len(learn.y) / step_images)
        self.micro_batch = settings.batch_size
        self.groups = groups
        self.optimizer = optim.build_optimizer(
            settings.optimizer, groups, momentum=settings.momentum
        )
        self.pull = optim.L2SP(groups, settings.l2_sp) if settings.l2_sp else None
        self.ema = MovingAverage(model, settings.ema) if settings.ema else None
        self.criterion = losses.Criterion(
            settings.loss, label_smoothing=settings.label_smoothing, gamma=settings.focal_gamma
        )
        self.rate_factor, self.n_retries = 1.0, 0
        self.recent: list[State] = []
        self.history = History()
        self._best_value = math.inf
        self._best_in_memory: State | None = None
        self._compiled: Any = None
        self._was_compiled: bool | None = None

    def run(self) -> History:
        """All epochs that are still to be done.

        Raises
        ------
        TrainingError
            The loss is not finite, twice.
        """
        self.prepare()
        if not self._restore():
            self._remember_good()
        with torch.random.fork_rng(devices=[]):
            self.compile((self.n_epochs - len(self.history.epochs)) * self.steps_per_epoch)
            while len(self.history.epochs) < self.n_epochs and not self._is_enough():
                self._one_epoch()
        history = self.history
        history.last = self._state()
        history.best = self._read_best() or history.last
        history.average = mean_of(self.recent) if len(self.recent) > 1 else history.last
        return history

    def prepare(self) -> None:
        """Onto the device, into its arithmetic."""
        self.accelerator.prepare_model(self.model, evaluation_mode=True)
        self._parallel = devices.in_parallel(self.accelerator, self.model)

    def compile(self, n_steps: int) -> None:
        """Settle whether the steps that are left are compiled."""
        if self.model.body is None:
            return
        x, earlier = self.learn.examples.batch(
            np.arange(min(self.micro_batch, len(self.learn.y))), 0
        )
        inputs = self._put(x), self._put(earlier)
        choice = compiling.choose(
            self._parallel,
            self.settings.compile,
            before=self._was_compiled,
            step=lambda module: self._rehearse(module, *inputs),
            n_steps=n_steps,
            device=self.accelerator.device.type,
            n_processes=self.accelerator.num_processes,
            say=self.say,
        )
        self._compiled, self.history.compiled = choice.module, choice.words
        if choice.has_failed:
            self.history.notes.append(choice.words)
        if choice.has_failed or choice.module is not None:
            self.say(choice.words)

    def _rehearse(self, module: Any, x: Any, earlier: Any) -> None:
        """Forward and backward as in a step; weights and statistics stay as they are."""
        before = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
        was_training = self.model.training
        self.model.train()
        with self.accelerator.no_sync(self._parallel):
            with self.accelerator.autocast():
                logits = module(x, earlier).float()
            self.accelerator.backward(logits.square().mean())
        self.model.train(was_training)
        self.optimizer.zero_grad(set_to_none=True)
        for name, buffer in self.model.named_buffers():
            buffer.copy_(before[name])
        if x.device.type == "cuda":
            torch.cuda.synchronize(x.device)

    def scores(self, examples: Examples, *, epoch: int = 0) -> NDArray[np.float32]:
        """``(N, K)`` logits in eval mode, in order, whatever the number of processes."""
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        mine = np.arange(len(examples))[rank::world]
        batches = [mine[i : i + self.micro_batch] for i in range(0, len(mine), self.micro_batch)]
        parts = []
        was_training = self.model.training
        self.model.eval()
        with torch.inference_mode(), self.accelerator.autocast():
            for _, (x, earlier) in prefetched(examples, batches, epoch, n_threads=self.n_workers):
                logits = self.model(self._put(x), self._put(earlier))
                parts.append(logits.float().cpu().numpy())
        self.model.train(was_training)
        own = np.concatenate(parts) if parts else np.zeros((0, self.n_classes), np.float32)
        if world == 1:
            return own
        from accelerate.utils import gather_object

        pieces = gather_object([own])
        whole = np.empty((len(examples), self.n_classes), np.float32)
        for number, piece in enumerate(pieces):
            whole[number::world] = piece
        return whole

    # -- one epoch ---------------------------------------------------------------------------

    def _one_epoch(self) -> None:
        epoch, start = len(self.history.epochs), time.perf_counter()
        self._set_phase(epoch)
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
        order = np.random.default_rng([self.seed, epoch, 1]).permutation(len(self.learn.y))
        size = self.settings.batch_size * self.settings.accumulate
        steps: list[Rows] = [order[i : i + size] for i in range(0, len(order), size)]
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        # Of fewer images than processes, the spare ones take the first, and it counts nothing.
        mine = [rows[rank::world] if rank < len(rows) else rows[:1] for rows in steps]
        total_loss = total_right = 0.0
        ahead = prefetched(self.learn.examples, mine, epoch, n_threads=self.n_workers)
        for step, (rows, inputs) in enumerate(ahead):
            loss, right = self._step(epoch, step, steps[step], rows, inputs)
            total_loss, total_right = total_loss + loss, total_right + right
            self.on_step(epoch * len(steps) + step + 1, self.n_epochs * len(steps))
        self._require_finite(epoch, len(steps) - 1)
        devices.agree_on_statistics(self.accelerator, self.model)
        if world > 1:
            sums = torch.tensor([total_loss, total_right], dtype=torch.float64)
            summed = self.accelerator.reduce(sums.to(self.accelerator.device), reduction="sum")
            total_loss, total_right = (float(v) for v in summed.cpu())
        return total_loss / float(self.learn.weight.sum()), total_right / len(self.learn.y)

    def _require_finite(self, epoch: int, step: int) -> None:
        """The last step's loss was that of the weights before it."""
        weights = (p.detach() for group in self.groups for p in group.parameters)
        if not all(bool(weight.isfinite().all()) for weight in weights):
            raise NotFiniteError(epoch, step, math.nan, self._rate(epoch, step))

    def _step(
        self, epoch: int, step: int, whole: Rows, rows: Rows, inputs: Any
    ) -> tuple[float, float]:
        """One update from the images `rows`, this process's part of `whole`."""
        factor = self._factor(epoch, step)
        optim.set_rates(self.optimizer, self.groups, factor)
        denominator = float(self.learn.weight[whole].sum()) / self.accelerator.num_processes
        weight = self.learn.weight[rows] * (self.accelerator.process_index < len(whole))
        while True:
            torch.manual_seed(_mixed(self.seed, epoch, step, self.accelerator.process_index))
            self.optimizer.zero_grad(set_to_none=True)
            try:
                loss, right = self._backward(
                    epoch, step, rows, weight, inputs, max(denominator, 1e-12)
                )
                break
            except (MemoryError, RuntimeError) as error:
                if not self._goes_without_compiling(error):
                    self._halve(error)
        finite = torch.tensor(float(math.isfinite(loss)), device=self.accelerator.device)
        if self.accelerator.num_processes > 1:
            finite = self.accelerator.reduce(finite, reduction="sum") / (
                self.accelerator.num_processes
            )
        if float(finite) < 1:
            raise NotFiniteError(epoch, step, loss, factor * self._base_rate)
        learning = [p for group in self.groups for p in group.parameters]
        if self.settings.clip:
            norm = nn.utils.clip_grad_norm_(learning, self.settings.clip)
            if not math.isfinite(float(norm)):
                raise NotFiniteError(epoch, step, float(norm), factor * self._base_rate)
        if self.pull is not None:
            self.pull.step(self.optimizer)
        self.optimizer.step()
        if self.ema is not None:
            self.ema.update(self.model)
        return loss, right

    def _backward(
        self, epoch: int, step: int, rows: Rows, weights: Floats, inputs: Any, denominator: float
    ) -> tuple[float, float]:
        """Gradients of the step, in parts that fit into memory; sums of loss and hits."""
        x, earlier = inputs
        total_loss = total_right = 0.0
        parts = range(0, max(len(rows), 1), self.micro_batch)
        for number, first in enumerate(parts):
            part = slice(first, first + self.micro_batch)
            y = torch.from_numpy(np.asarray(self.learn.y[rows[part]], np.int64))
            weight = torch.from_numpy(np.asarray(weights[part], np.float32))
            x_part, y, weight = self._put(x[part]), self._put(y), self._put(weight)
            targets = y
            if x_part.ndim > 2 and len(y) > 1:
                place = [self.seed, epoch, step, number, self.accelerator.process_index]
                x_part, targets = losses.mixed(
                    x_part, y, self.n_classes, self.settings.mixup, self.settings.cutmix,
                    np.random.default_rng(place),
                )  # fmt: skip
                if earlier is not None and self.settings.mixup:  # by the same share and order
                    pooled, _ = losses.mixed(
                        earlier[part][:, :, None, None], y.cpu(), self.n_classes,
                        self.settings.mixup, 0.0, np.random.default_rng(place),
                    )  # fmt: skip
                    earlier = earlier.clone()
                    earlier[part] = pooled[:, :, 0, 0]
            is_last = number == len(parts) - 1
            wait = contextlib.nullcontext() if is_last else self.accelerator.no_sync(self._parallel)
            with wait:
                with self.accelerator.autocast():
                    earlier_part = None if earlier is None else self._put(earlier[part])
                    logits = self._module_for(len(y))(x_part, earlier_part).float()
                mean = losses.weighted_mean(self.criterion(logits, targets), denominator, weight)
                self.accelerator.backward(mean)
            total_loss += float(mean.detach()) * denominator
            total_right += float(((logits.detach().argmax(1) == y) & (weight > 0)).sum())
        return total_loss, total_right

    def _module_for(self, n_images: int) -> Any:
        """The compiled module for whole parts; the few that are smaller are not worth a graph."""
        is_whole = n_images == self.micro_batch
        return self._compiled if self._compiled is not None and is_whole else self._parallel

    # -- rates and phases --------------------------------------------------------------------

    @property
    def _base_rate(self) -> float:
        return float(self.settings.learning_rate or 0.0)

    def _rate(self, epoch: int, step: int) -> float:
        """The body's rate in this step."""
        return self._base_rate * self._factor(epoch, step)

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

    def _set_phase(self, epoch: int) -> None:
        """In the head's phase the body has no gradient and its statistics rest."""
        learns = [
            (parameter, group.is_head or epoch >= self._head_epochs)
            for group in self.groups
            for parameter in group.parameters
        ]
        if any(parameter.requires_grad != does for parameter, does in learns):
            for parameter, does in learns:
                parameter.requires_grad_(does)
            self._parallel = devices.in_parallel(self.accelerator, self.model)
            if self._compiled is not None:
                self._compiled = compiling.compiled(self._parallel)

    def _is_enough(self) -> bool:
        patience, best = self.settings.patience, self.history.best_epoch
        return bool(patience) and len(self.history.epochs) - best >= patience > 0

    # -- choosing ----------------------------------------------------------------------------

    def _held_out(self) -> tuple[float, float, float] | None:
        """Loss, accuracy and balanced accuracy on the images that choose."""
        if self.choose is None:
            return None
        own = self._swap_in_average()
        logits = self.scores(self.choose.examples)
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

    def _state(self) -> State:
        """Of the model, or of its moving average where there is one."""
        return self.ema.state() if self.ema else _copied(self.model.state_dict())

    def _swap_in_average(self) -> State | None:
        if self.ema is None:
            return None
        own = _copied(self.model.state_dict())
        self.model.load_state_dict(self.ema.state())
        return own

    def _remember_good(self) -> None:
        """The state to go back to after a loss that is no number."""
        average = (self.ema.state(), self.ema.n_updates) if self.ema else None
        self._good = (
            _copied(self.model.state_dict()), optim.optimizer_state(self.optimizer), average
        )  # fmt: skip

    def _go_back(self, error: NotFiniteError) -> None:
        epoch, step, loss, rate = error.args
        if self.n_retries:
            raise TrainingError(
                f"the loss became {loss} in epoch {epoch + 1}, step {step + 1}, and again with "
                f"a tenth of the rate ({rate * self.rate_factor:.2g})",
                cure="a smaller --learning-rate; --precision fp32; or look at the pictures of "
                "that batch with `regraft check`",
            )
        self.n_retries, self.rate_factor = 1, GENTLER
        state, own, average = self._good
        self.model.load_state_dict(state)
        self._restore_optimizer(*own)
        if self.ema is not None and average is not None:
            self.ema.load(average[0], n_updates=average[1])
        self.history.notes.append(
            f"the loss became {loss} in epoch {epoch + 1}, step {step + 1}; went back to the end "
            f"of epoch {epoch} and on with a tenth of the rate"
        )

    def _save(self, is_best: bool) -> None:
        if self.folder is None or not self.accelerator.is_main_process:
            if is_best and self.folder is None:
                self._best_in_memory = self._state()
            return
        meta: dict[str, Any] = {
            "identity": self.identity,
            "epochs": [e.to_dict() | {"seconds": e.seconds} for e in self.history.epochs],
            "best": None if math.isinf(self._best_value) else self._best_value,
            "rate_factor": self.rate_factor,
            "retries": self.n_retries,
            "micro_batch": self.micro_batch,
            "compiled": self._compiled is not None,
            "notes": self.history.notes,
        }
        if is_best:
            checkpoint.write(self.folder / checkpoint.BEST, {"model": self._state()}, meta)
        tensors, meta["optimizer"] = optim.optimizer_state(self.optimizer)
        averaged = self.ema.state() if self.ema else {}
        meta["ema"] = self.ema.n_updates if self.ema else 0
        meta["recent"] = len(self.recent)
        parts = {"model": self.model.state_dict(), "optimizer": tensors, "ema": averaged}
        parts |= {f"recent.{i}": state for i, state in enumerate(self.recent)}
        checkpoint.write(self.folder / checkpoint.LAST, parts, meta)

    def _restore(self) -> bool:
        """Go on from the last checkpoint of this very training, if there is one."""
        saved = checkpoint.read(self.folder / checkpoint.LAST) if self.folder else None
        if saved is None or saved.meta.get("identity") != self.identity:
            return False
        if len(saved.meta["epochs"]) > self.n_epochs:
            raise UsageError(
                f"this run has gone through {len(saved.meta['epochs'])} epochs already, "
                f"{self.n_epochs} were asked for",
                place=str(self.folder),
                cure="another --run name keeps both; or remove that folder",
            )
        self.model.load_state_dict(saved.part("model"))
        self._restore_optimizer(saved.part("optimizer"), saved.meta["optimizer"])
        if self.ema is not None:
            self.ema.load(saved.part("ema"), n_updates=int(saved.meta["ema"]))
        self.recent = [saved.part(f"recent.{i}") for i in range(saved.meta["recent"])]
        self.history.epochs = [Epoch(**epoch) for epoch in saved.meta["epochs"]]
        self.history.notes = list(saved.meta["notes"])
        self.history.resumed_at = len(self.history.epochs)
        best = saved.meta["best"]
        self._best_value = math.inf if best is None else float(best)
        self.rate_factor, self.n_retries = saved.meta["rate_factor"], saved.meta["retries"]
        self.micro_batch = saved.meta["micro_batch"]
        self._was_compiled = saved.meta["compiled"]
        self._remember_good()
        if self.history.resumed_at < self.n_epochs:
            self.say(f"going on after epoch {self.history.resumed_at}, where the run was stopped")
        return True

    def _restore_optimizer(self, tensors: State, meta: dict[str, Any]) -> None:
        if not tensors:  # before the first step an optimiser has nothing to remember
            self.optimizer.state.clear()
            return
        optim.restore_optimizer(self.optimizer, tensors, meta)

    def _read_best(self) -> State | None:
        self.accelerator.wait_for_everyone()
        if self.folder is None:
            return self._best_in_memory
        saved = checkpoint.read(self.folder / checkpoint.BEST)
        if saved is None or saved.meta.get("identity") != self.identity:
            return None
        return saved.part("model")

    # -- memory and devices ------------------------------------------------------------------

    @property
    def n_workers(self) -> int:
        """Threads that prepare inputs."""
        return 2 if self.settings.workers is None else self.settings.workers

    def _put(self, tensor: Any) -> Any:
        return None if tensor is None else tensor.to(self.accelerator.device, non_blocking=True)

    def _goes_without_compiling(self, error: BaseException) -> bool:
        """Where a graph for other inputs (the next size of picture) cannot be made."""
        if self._compiled is None or not compiling.is_of_compiler(error):
            return False
        self._compiled = None
        note = f"torch.compile failed ({str(error).strip().splitlines()[0][:160]}); on without it"
        self.history.notes.append(note)
        self.history.compiled = note
        return True

    def _halve(self, error: BaseException) -> None:
        """Out of memory: smaller parts, the same step."""
        if not _is_out_of_memory(error) or self.micro_batch == 1:
            raise error
        if self.accelerator.num_processes > 1:  # the others are within this step and cannot go back
            raise TrainingError(
                f"out of memory with {self.micro_batch} images per step, divided over "
                f"{self.accelerator.num_processes} processes",
                cure=f"--batch-size {self.micro_batch // 2} --accumulate 2, which is the same step",
            ) from error
        self.micro_batch = max(1, self.micro_batch // 2)
        note = (
            f"out of memory: each step's {self.settings.batch_size} images go in parts of "
            f"{self.micro_batch} from now on; the step is the same"
        )
        self.history.notes.append(note)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


class NotFiniteError(Exception):
    """The loss or the gradient of a step: (epoch, step, loss, rate)."""


def measured(logits: NDArray[Any], y: Codes) -> tuple[float, float, float]:
    """Log loss, accuracy and balanced accuracy of ``(N, K)`` logits."""
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    log_proba = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    right = logits.argmax(1) == y
    recalls = [right[y == code].mean() for code in np.unique(y)]
    loss = float(-log_proba[np.arange(len(y)), y].mean())
    return loss, float(right.mean()), float(np.mean(recalls))


def _copied(state: State) -> State:
    return {name: tensor.detach().clone() for name, tensor in state.items()}


def _is_out_of_memory(error: BaseException) -> bool:
    words = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in words or "allocate memory" in words


def _mixed(*numbers: int) -> int:
    """One 63-bit seed from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
