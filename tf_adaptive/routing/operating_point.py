"""What a network that picks resolutions gives where it is run."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class RoutingPoint:
    """What the predictor's choice was measured to give on the test images.

    Attributes:
        resolutions: the candidates in pixels, largest first.
        accuracy_percent: top-1.
        mean_macs: mean multiply-accumulates per image, the predictor's included.
        shares: `(m,)`, the fraction of the images at each resolution.
        temperature: what the predictor's logits are divided by for its probabilities to mean what
            they say; the choice does not depend on it.
    """

    resolutions: tuple[int, ...]
    accuracy_percent: float | None = None
    mean_macs: int | None = None
    shares: tuple[float, ...] | None = None
    temperature: float | None = None

    def description(self):
        """What stands of it beside a network, a dictionary in values JSON can hold."""
        described = dataclasses.asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in described.items()}
