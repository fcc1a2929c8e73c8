"""How far a training is, for a person to look at."""

import sys

import tqdm


class Progress:
    """What a training calls as it goes on; this one shows nothing."""

    def note(self, line):
        """Called before all else, with what a person should know of a training that is resumed."""

    def start(self, *, total_images, done_images):
        """Called first: images of the whole training, and those trained on before resuming."""

    def update(self, *, epoch, epochs, images, metrics):
        """Called about once a second.

        Args:
            epoch, epochs: the current epoch, from 1, of so many.
            images: trained on since the last call.
            metrics: dict of the epoch's means so far, see `GradientStep.metrics`.
        """

    def epoch_done(self, *, epochs, row):
        """Called after each epoch's validation with its row of `history.csv`, a dict."""

    def stop(self):
        """Called last, after an error too."""


class BarProgress(Progress):
    """One bar over the whole training on stderr, where that is a terminal.

    It shows the epoch's loss and last accuracy so far, images/s, and the time left of the whole
    training.
    """

    def start(self, *, total_images, done_images):
        self._bar = tqdm.tqdm(
            total=total_images,
            initial=done_images,
            unit=" images",
            dynamic_ncols=True,
            disable=not sys.stderr.isatty(),
        )

    def update(self, *, epoch, epochs, images, metrics):
        self._bar.set_description(f"epoch {epoch}/{epochs}", refresh=False)
        name = [name for name in metrics if name.startswith("train_accuracy")][-1]
        shown = name.removeprefix("train_").replace("_", " ")
        self._bar.set_postfix_str(
            f"loss {metrics['loss']:.3f}, {shown} {metrics[name]:.2%}", refresh=False
        )
        self._bar.update(images)

    def stop(self):
        self._bar.close()


class TerminalProgress(BarProgress):
    """The bar, and a line per epoch on stdout."""

    def note(self, line):
        print(line, flush=True)

    def epoch_done(self, *, epochs, row):
        accuracies = " ".join(
            f"{100 * value:.2f}"
            for name, value in row.items()
            if name.startswith("validation_accuracy")
        )
        cost = ""
        if "validation_mean_gflops" in row:
            cost = f" at {row['validation_mean_gflops']:.4g} GFLOPs"
        self._bar.write(
            f"epoch {row['epoch']}/{epochs}: loss {row['loss']:.4f}, validation accuracy "
            f"{accuracies} %{cost}, {row['images_per_second']:.0f} images/s, {row['seconds']:.0f} s"
        )
        # A redirected stdout would keep the line for hours.
        sys.stdout.flush()
