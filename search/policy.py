"""The RNN that draws architectures, decision by decision (MnasNet, arXiv:1807.11626, §4.2).

An LSTM reads what was decided last and gives the probabilities of the next decision's options. In
NumPy with its gradient written out: it is small, needs no device, and draws the same architectures
wherever a search is continued.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

Params = dict[str, np.ndarray]
EMBEDDING = 16  # numbers that stand for an option
_SPREAD = 0.1  # standard deviation of the weights at the start: nearly equal probabilities


@dataclasses.dataclass(frozen=True)
class _StepTape:
    """What one step's gradient needs, [B, …]."""

    index: np.ndarray  # row of the embedding
    joined: np.ndarray  # embedding and hidden state before
    gates: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # input, forget, candidate, output
    cell_before: np.ndarray
    cell: np.ndarray
    hidden: np.ndarray


@dataclasses.dataclass(frozen=True)
class Reading:
    """What the policy says of some architectures.

    Attributes:
      log_probs: of each decision, of all its options: [B, options].
      tape: for `Policy.gradients`.
    """

    log_probs: list[np.ndarray]
    tape: list[_StepTape]

    def of(self, choices: np.ndarray) -> np.ndarray:
        """The log-probability of each choice, [B, T]."""
        rows = np.arange(len(choices))
        return np.stack([p[rows, choices[:, t]] for t, p in enumerate(self.log_probs)], axis=1)

    def entropies(self) -> np.ndarray:
        """Of each decision, in nats, [B, T]."""
        return np.stack([-(np.exp(p) * p).sum(axis=1) for p in self.log_probs], axis=1)


class Policy:
    """Probabilities of architectures.

    Args:
      options: how many each of the T decisions has.
      units: of the LSTM.
      rng: draws the weights.
    """

    def __init__(self, options: Sequence[int], units: int, rng: np.random.Generator) -> None:
        self.options, self.units = tuple(options), units
        # Row 0 of the embedding stands for the start, then come the options of all decisions but
        # the last.
        self._first_rows = np.cumsum([1, *options[:-1]])

        def draw(*shape: int) -> np.ndarray:
            return rng.normal(0, _SPREAD, shape)

        self.params: Params = {
            'embedding': draw(1 + sum(options[:-1]), EMBEDDING),
            'kernel': draw(EMBEDDING + units, 4 * units),
            'bias': np.zeros(4 * units),
        }
        for t, count in enumerate(options):
            self.params[f'head_{t}/kernel'] = draw(units, count)
            self.params[f'head_{t}/bias'] = np.zeros(count)

    def sample(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Draws architectures, int [count, T]."""
        choices = np.zeros((count, len(self.options)), int)
        hidden, cell = self._start(count)
        for t in range(len(self.options)):
            hidden, cell, log_probs, _ = self._step(t, choices, hidden, cell)
            # The largest of log-probability plus Gumbel noise is a draw.
            choices[:, t] = np.argmax(log_probs + rng.gumbel(size=log_probs.shape), axis=1)
        return choices

    def read(self, choices: np.ndarray) -> Reading:
        """The probabilities along architectures, int [B, T]."""
        hidden, cell = self._start(len(choices))
        every, tape = [], []
        for t in range(len(self.options)):
            hidden, cell, log_probs, step = self._step(t, choices, hidden, cell)
            every.append(log_probs)
            tape.append(step)
        return Reading(every, tape)

    def gradients(self, reading: Reading, by_logits: Sequence[np.ndarray]) -> Params:
        """The gradient of the weights, from that of each decision's logits, [B, options]."""
        found = {name: np.zeros_like(value) for name, value in self.params.items()}
        by_hidden, by_cell = self._start(len(by_logits[0]))
        for t in reversed(range(len(self.options))):
            step = reading.tape[t]
            found[f'head_{t}/kernel'] += step.hidden.T @ by_logits[t]
            found[f'head_{t}/bias'] += by_logits[t].sum(axis=0)
            by_hidden = by_hidden + by_logits[t] @ self.params[f'head_{t}/kernel'].T
            by_gates, by_cell = _back_through_gates(step, by_hidden, by_cell)
            found['kernel'] += step.joined.T @ by_gates
            found['bias'] += by_gates.sum(axis=0)
            by_joined = by_gates @ self.params['kernel'].T
            np.add.at(found['embedding'], step.index, by_joined[:, :EMBEDDING])
            by_hidden = by_joined[:, EMBEDDING:]
        return found

    def _start(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((count, self.units)), np.zeros((count, self.units))

    def _step(
        self, t: int, choices: np.ndarray, hidden: np.ndarray, cell: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, _StepTape]:
        index = np.zeros(len(choices), int)
        if t:
            index = self._first_rows[t - 1] + choices[:, t - 1]
        joined = np.concatenate([self.params['embedding'][index], hidden], axis=1)
        raw = np.split(joined @ self.params['kernel'] + self.params['bias'], 4, axis=1)
        gates = _sigmoid(raw[0]), _sigmoid(raw[1]), np.tanh(raw[2]), _sigmoid(raw[3])
        now = gates[1] * cell + gates[0] * gates[2]
        hidden = gates[3] * np.tanh(now)
        logits = hidden @ self.params[f'head_{t}/kernel'] + self.params[f'head_{t}/bias']
        log_probs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
        return hidden, now, log_probs, _StepTape(index, joined, gates, cell, now, hidden)


def _back_through_gates(
    step: _StepTape, by_hidden: np.ndarray, by_cell: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The gradients of the four gates before their activations, side by side, and of the cell before."""
    input_, forget, candidate, output = step.gates
    squashed = np.tanh(step.cell)
    by_cell = by_cell + by_hidden * output * (1 - squashed**2)
    by_raw = (
        by_cell * candidate * input_ * (1 - input_),
        by_cell * step.cell_before * forget * (1 - forget),
        by_cell * input_ * (1 - candidate**2),
        by_hidden * squashed * output * (1 - output),
    )
    return np.concatenate(by_raw, axis=1), by_cell * forget


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * x))
