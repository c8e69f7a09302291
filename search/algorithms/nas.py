"""Platform-aware NAS: a controller that learns by PPO which architectures are rewarded (Paper: §4.1)."""

import collections
import dataclasses
from collections.abc import Sequence

import numpy as np

from search.policy import Params, Policy, Reading
from search.space import Architecture

_BETAS, _EPSILON = (0.9, 0.999), 1e-8  # Adam's
_ATTEMPTS = 50  # to draw what was not drawn before


@dataclasses.dataclass(frozen=True)
class Settings:
    """How the controller learns.

    Attributes:
      units: of its LSTM.
      learning_rate: of Adam.
      updates: of the weights, from each batch of samples.
      clip: how far a probability's ratio counts (PPO's ε).
      entropy: weight of the entropy, which keeps the controller from settling too early.
      memory: samples that a lesson is of, the newest.
    """

    units: int
    learning_rate: float
    updates: int
    clip: float
    entropy: float
    memory: int

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not value > 0 and not (field.name == 'entropy' and value == 0):
                raise ValueError(f'search.nas.{field.name} is {value}; expected above 0')


class Controller:
    """Draws architectures and learns from their rewards (`search.sampling.Strategy`).

    Departs from paper: an architecture that was drawn before is drawn again only where others are
    hard to find, and a lesson is of the newest samples, not of one batch alone. MnasNet samples 8,000
    architectures; with some dozens, neither a repetition nor a forgotten sample can be afforded.

    Args:
      options: how many each decision has.
      settings: how it learns.
      seed: of its weights and draws.
    """

    def __init__(self, options: Sequence[int], settings: Settings, seed: int) -> None:
        self._settings = settings
        self._rng = np.random.default_rng(seed)
        self._policy = Policy(options, settings.units, self._rng)
        self._adam = _Adam(self._policy.params, settings.learning_rate)
        self._seen: set[Architecture] = set()
        self._samples: collections.deque[tuple[Architecture, float]] = collections.deque(
            maxlen=settings.memory
        )

    def propose(self, count: int) -> list[Architecture]:
        """Draws architectures."""
        found: list[Architecture] = []
        for attempt in range(_ATTEMPTS + 1):
            for row in self._policy.sample(count, self._rng):
                architecture = tuple(map(int, row))
                is_new = architecture not in self._seen
                if len(found) < count and (is_new or attempt == _ATTEMPTS):
                    self._seen.add(architecture)
                    found.append(architecture)
        return found

    def learn(self, architectures: Sequence[Architecture], rewards: Sequence[float]) -> None:
        """Moves the probabilities of architectures towards the better ones, by PPO's clipped ratio."""
        settings = self._settings
        self._samples.extend(zip(architectures, rewards, strict=True))
        choices = np.array([architecture for architecture, _ in self._samples])
        advantages = _standardised(np.array([reward for _, reward in self._samples]))[:, None]
        before = self._policy.read(choices).of(choices)
        for _ in range(settings.updates):
            reading = self._policy.read(choices)
            ratios = np.exp(reading.of(choices) - before)  # [B, T]
            # Where the clipped ratio is the lesser, its gradient is 0.
            is_clipped = np.where(
                advantages > 0, ratios > 1 + settings.clip, ratios < 1 - settings.clip
            )
            by_log_probs = np.where(is_clipped, 0, advantages * ratios) / len(choices)
            by_logits = _by_logits(reading, choices, by_log_probs, settings.entropy / len(choices))
            self._adam.ascend(self._policy.gradients(reading, by_logits))


def _standardised(rewards: np.ndarray) -> np.ndarray:
    """Rewards against their mean, in their standard deviations; equal ones teach nothing."""
    if np.ptp(rewards) == 0:  # what rounding makes of their deviation is not 0
        return np.zeros_like(rewards)
    return (rewards - np.mean(rewards)) / np.std(rewards)


def _by_logits(
    reading: Reading, choices: np.ndarray, by_log_probs: np.ndarray, entropy: float
) -> list[np.ndarray]:
    """Gradients of the logits: of the choices' log-probabilities, and of the entropies."""
    rows = np.arange(len(choices))
    entropies = reading.entropies()
    found = []
    for t, log_probs in enumerate(reading.log_probs):
        probs = np.exp(log_probs)
        gradient = -probs * by_log_probs[:, t, None]
        gradient[rows, choices[:, t]] += by_log_probs[:, t]
        gradient -= entropy * probs * (log_probs + entropies[:, t, None])
        found.append(gradient)
    return found


class _Adam:
    """Adam on arrays in place."""

    def __init__(self, params: Params, learning_rate: float) -> None:
        self._params, self._rate = params, learning_rate
        self._first = {name: np.zeros_like(value) for name, value in params.items()}
        self._second = {name: np.zeros_like(value) for name, value in params.items()}
        self._step = 0

    def ascend(self, gradients: Params) -> None:
        """One step up."""
        self._step += 1
        low, high = _BETAS
        rate = self._rate * np.sqrt(1 - high**self._step) / (1 - low**self._step)
        for name, gradient in gradients.items():
            self._first[name] += (1 - low) * (gradient - self._first[name])
            self._second[name] += (1 - high) * (gradient**2 - self._second[name])
            self._params[name] += (
                rate * self._first[name] / (np.sqrt(self._second[name]) + _EPSILON)
            )
