"""One step: the gradients of its images, in parts that fit into memory, and the weights moved.

Gradients are sums over the images of a step divided by their total weight, so it does not matter
into how many parts, or over how many processes, a step's images are divided. Everything random is
drawn from (seed, epoch, step), nothing from what happened before.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from regraft.errors import TrainingError
from regraft.machine import chance
from regraft.probe.base import Floats
from regraft.training import acceleration, compiling, losses, optim
from regraft.training.examples import Examples, Labelled, Rows, prefetched
from regraft.training.settings import TrainingSettings
from regraft.training.weight_average import moving_average


class NotFiniteError(Exception):
    """The loss or the gradient of a step: (epoch, step, loss, rate)."""


class Stepper:
    """Moves the weights of a module, one step at a time, on whatever device and processes.

    Parameters
    ----------
    model : nn.Module
        ``(x, earlier)`` to ``(N, K)`` logits.
    learn : Labelled
    settings : TrainingSettings
        Resolved: nothing is None that a step reads.
    groups : sequence of optim.Group
        Parameters with their rates.
    accelerator : accelerate.Accelerator
        Device, precision, processes.

    Attributes
    ----------
    micro_batch : int
        Images in one part; smaller after memory ran out.
    moving_average : AveragedModel or None
    compiled : str
        Whether the steps are compiled, and why.
    notes : list of str
        What went wrong and was healed.
    """

    def __init__(
        self,
        model: nn.Module,
        learn: Labelled,
        settings: TrainingSettings,
        *,
        groups: Sequence[optim.Group],
        accelerator: Any,
        n_classes: int,
        seed: int = 0,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.model, self.learn, self.settings = model, learn, settings
        self.groups, self.accelerator = groups, accelerator
        self.n_classes, self.seed, self.say = n_classes, seed, say
        self.optimizer = optim.build_optimizer(
            settings.optimizer, groups, momentum=settings.momentum
        )
        self.moving_average = moving_average(model, settings.ema) if settings.ema else None
        self.micro_batch = settings.batch_size
        self.compiled, self.notes = "", list[str]()
        self._pull = optim.L2SP(groups, settings.l2_sp) if settings.l2_sp else None
        self._criterion = losses.criterion(
            settings.loss, label_smoothing=settings.label_smoothing, gamma=settings.focal_gamma
        )
        self._compiled: Any = None
        self._parallel: Any = model

    @property
    def images_per_step(self) -> int:
        """Over all parts and processes."""
        return self.settings.batch_size * self.settings.accumulate

    @property
    def rate(self) -> float:
        """The body's highest rate."""
        return float(self.settings.learning_rate or 0.0)

    @property
    def is_compiled(self) -> bool:
        """Whether whole parts go through a compiled module."""
        return self._compiled is not None

    @property
    def n_workers(self) -> int:
        """Threads that prepare inputs."""
        return 2 if self.settings.workers is None else self.settings.workers

    def prepare(self) -> None:
        """Onto the device."""
        self.model.to(self.accelerator.device)
        self._parallel = acceleration.in_parallel(self.accelerator, self.model)

    def compile(self, n_steps: int, *, before: bool | None = None) -> None:
        """Settle whether the steps that are left are compiled; `before`, as a run that is gone on
        with had it."""
        if self.model.body is None:
            return
        few = np.arange(min(self.micro_batch, len(self.learn.y)))
        x, earlier = self.learn.examples.batch(few, 0)
        inputs = self._put(x), self._put(earlier)
        choice = compiling.choose(
            self._parallel,
            self.settings.compile,
            before=before,
            step=lambda module: self._rehearse(module, *inputs),
            n_steps=n_steps,
            device=self.accelerator.device.type,
            n_processes=self.accelerator.num_processes,
            say=self.say,
        )
        self._compiled, self.compiled = choice.module, choice.words
        if choice.has_failed:
            self.notes.append(choice.words)
        if choice.has_failed or choice.module is not None:
            self.say(choice.words)

    def let_learn(self, *, body: bool) -> None:
        """The head alone, or the body too: what does not learn has no gradient."""
        learns = [
            (parameter, group.is_head or body)
            for group in self.groups
            for parameter in group.parameters
        ]
        if any(parameter.requires_grad != does for parameter, does in learns):
            for parameter, does in learns:
                parameter.requires_grad_(does)
            self._parallel = acceleration.in_parallel(self.accelerator, self.model)
            if self._compiled is not None:
                self._compiled = compiling.compiled(self._parallel)

    def inputs(self, steps: Sequence[Rows], epoch: int) -> Iterator[tuple[Rows, Any]]:
        """This process's rows of each step with their inputs, prepared ahead."""
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        # Of fewer images than processes, the spare ones take the first, and it counts nothing.
        mine = [rows[rank::world] if rank < len(rows) else rows[:1] for rows in steps]
        return prefetched(self.learn.examples, mine, epoch, n_threads=self.n_workers)

    def take(
        self, epoch: int, step: int, whole: Rows, rows: Rows, inputs: Any, *, factor: float
    ) -> tuple[float, float]:
        """One update, every rate times `factor`, from the images `rows`, this process's part of
        `whole`.

        Returns
        -------
        loss, right : float
            Sums over this process's images.

        Raises
        ------
        NotFiniteError
            The loss or its gradient is no number; the weights have not moved.
        TrainingError
            Not even one image fits into memory.
        """
        optim.set_rates(self.optimizer, self.groups, factor)
        denominator = float(self.learn.weight[whole].sum()) / self.accelerator.num_processes
        weight = self.learn.weight[rows] * (self.accelerator.process_index < len(whole))
        while True:
            self.optimizer.zero_grad(set_to_none=True)
            try:
                with self._chance(epoch, step):
                    loss, right = self._backward(
                        epoch, step, rows, weight, inputs, max(denominator, 1e-12)
                    )
                break
            except (MemoryError, RuntimeError) as error:
                if not self._goes_without_compiling(error):
                    self._halve(error)
        if not self._is_finite_everywhere(loss):
            raise NotFiniteError(epoch, step, loss, factor * self.rate)
        learning = [p for group in self.groups for p in group.parameters]
        if self.settings.clip:
            norm = nn.utils.clip_grad_norm_(learning, self.settings.clip)
            if not math.isfinite(float(norm)):
                raise NotFiniteError(epoch, step, float(norm), factor * self.rate)
        if self._pull is not None:
            self._pull.step(self.optimizer)
        self.optimizer.step()
        if self.moving_average is not None:
            self.moving_average.update_parameters(self.model)
        return loss, right

    def require_finite_weights(self, epoch: int, step: int, *, factor: float) -> None:
        """After the last step of an epoch, whose loss was that of the weights before it."""
        weights = (p.detach() for group in self.groups for p in group.parameters)
        if not all(bool(weight.isfinite().all()) for weight in weights):
            raise NotFiniteError(epoch, step, math.nan, factor * self.rate)

    def scores(self, examples: Examples, *, epoch: int = 0) -> NDArray[np.float32]:
        """``(N, K)`` logits in eval mode, in order, whatever the number of processes."""
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        mine = np.arange(len(examples))[rank::world]
        batches = [mine[i : i + self.micro_batch] for i in range(0, len(mine), self.micro_batch)]
        parts = []
        was_training = self.model.training
        self.model.eval()
        with torch.inference_mode(), acceleration.autocast(self.accelerator):
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

    # -- within a step -----------------------------------------------------------------------

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
            y, weight = self._put(y), self._put(weight)
            x_part = self._put(x[part])
            earlier_part = None if earlier is None else earlier[part]
            targets = y
            if x_part.ndim > 2 and len(y) > 1:
                place = [self.seed, epoch, step, number, self.accelerator.process_index]
                x_part, earlier_part, targets = self._mix(x_part, earlier_part, y, place)
            is_last = number == len(parts) - 1
            wait = contextlib.nullcontext() if is_last else self.accelerator.no_sync(self._parallel)
            with wait:
                with acceleration.autocast(self.accelerator):
                    logits = self._module_for(len(y))(x_part, self._put(earlier_part)).float()
                mean = losses.weighted_mean(self._criterion(logits, targets), denominator, weight)
                self.accelerator.backward(mean)
            total_loss += float(mean.detach()) * denominator
            total_right += float(((logits.detach().argmax(1) == y) & (weight > 0)).sum())
        return total_loss, total_right

    def _mix(self, x: Any, earlier: Any, y: Any, place: Sequence[int]) -> tuple[Any, Any, Any]:
        """Mixup and CutMix; what a head sees of the frozen layers by the same share and order."""
        x, targets = losses.mixed(
            x, y, self.n_classes, self.settings.mixup, self.settings.cutmix,
            np.random.default_rng(place),
        )  # fmt: skip
        if earlier is not None and self.settings.mixup:
            pooled, _ = losses.mixed(
                earlier[:, :, None, None], y.cpu(), self.n_classes, self.settings.mixup, 0.0,
                np.random.default_rng(place),
            )  # fmt: skip
            earlier = pooled[:, :, 0, 0]
        return x, earlier, targets

    def _module_for(self, n_images: int) -> Any:
        """The compiled module for whole parts; the few that are smaller are not worth a graph."""
        is_whole = n_images == self.micro_batch
        return self._compiled if self._compiled is not None and is_whole else self._parallel

    def _rehearse(self, module: Any, x: Any, earlier: Any) -> None:
        """Forward and backward as in a step; weights and statistics stay as they are."""
        before = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
        was_training = self.model.training
        self.model.train()
        with self.accelerator.no_sync(self._parallel), self._chance():
            with acceleration.autocast(self.accelerator):
                logits = module(x, earlier).float()
            self.accelerator.backward(logits.square().mean())
        self.model.train(was_training)
        self.optimizer.zero_grad(set_to_none=True)
        for name, buffer in self.model.named_buffers():
            buffer.copy_(before[name])
        if x.device.type == "cuda":
            torch.cuda.synchronize(x.device)

    def _chance(self, *place: int) -> contextlib.AbstractContextManager[None]:
        """What is random comes from the seed, and from where in the training this is."""
        seed = _mixed(self.seed, *place, self.accelerator.process_index)
        return chance.drawn_from(seed, self.accelerator.device.type)

    def _is_finite_everywhere(self, loss: float) -> bool:
        finite = torch.tensor(float(math.isfinite(loss)), device=self.accelerator.device)
        if self.accelerator.num_processes > 1:
            finite = self.accelerator.reduce(finite, reduction="sum") / (
                self.accelerator.num_processes
            )
        return float(finite) >= 1

    def _put(self, tensor: Any) -> Any:
        return None if tensor is None else tensor.to(self.accelerator.device, non_blocking=True)

    def _goes_without_compiling(self, error: BaseException) -> bool:
        """Where a graph for other inputs (the next size of picture) cannot be made."""
        if self._compiled is None or not compiling.is_of_compiler(error):
            return False
        self._compiled = None
        note = f"torch.compile failed ({str(error).strip().splitlines()[0][:160]}); on without it"
        self.notes.append(note)
        self.compiled = note
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
        self.notes.append(
            f"out of memory: each step's {self.settings.batch_size} images go in parts of "
            f"{self.micro_batch} from now on; the step is the same"
        )
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _is_out_of_memory(error: BaseException) -> bool:
    words = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in words or "allocate memory" in words


def _mixed(*numbers: int) -> int:
    """One 63-bit seed from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
