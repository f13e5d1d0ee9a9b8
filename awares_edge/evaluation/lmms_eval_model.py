"""The model class that lmms-eval loads; see `lmms_eval_plugin`. Imported only by lmms-eval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from lmms_eval.api.model import lmms
from PIL import Image

from awares_edge.api import load
from awares_edge.controller.trace import Answer
from awares_edge.errors import InputError
from awares_edge.evaluation.modes import ask, get_mode, in_mode

_MAX_NEW_TOKENS = 1024  # lmms-eval's own default; its tasks name theirs


class AwaresEdge(lmms):  # type: ignore[misc]
    """A bundle under lmms-eval: one picture a question, greedy, one question at a time.

    Its `--model_args`: bundle, runtime, protocol, threads as in `awares-edge ask`; mode as in
    `awares-edge evaluate`; compute for the device (lmms-eval keeps `device` for itself).
    """

    is_simple = True

    def __init__(
        self,
        bundle: str | None = None,
        runtime: str | None = None,
        protocol: str | None = None,
        compute: str | None = None,
        threads: int | None = None,
        mode: str = "awares",
        batch_size: int | str = 1,
        max_batch_size: int | None = None,
        device: str | None = None,
    ) -> None:
        """Load the bundle.

        Raises:
            InputError: an argument cannot be used.
            BundleError, RuntimeUnavailable: as `awares_edge.load`.
        """
        del max_batch_size, device
        super().__init__()
        if str(batch_size) != "1":
            raise InputError(f"awares_edge asks one question at a time: batch_size is {batch_size}")
        self.mode = get_mode(mode)
        if self.mode == "oracle-crop":
            raise InputError(
                "mode 'oracle-crop' needs known evidence, which lmms-eval does not give"
            )
        self.model = load(
            bundle, runtime=runtime, protocol=protocol, device=compute, threads=threads
        )
        self._asked = in_mode(self.model, self.mode)

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Answers to requests whose args are (prompt, options, doc_to_visual, doc_id, task, split).

        Raises:
            InputError: a request has no picture or several, or asks for sampling.
        """
        answers = []
        for request in requests:
            prompt, options, doc_to_visual, doc_id, task, split = request.args
            visuals = doc_to_visual(self.task_dict[task][split][doc_id])
            answer = self._ask(_only_picture(visuals, task), prompt, options, int(doc_id))
            text = _cut(answer.text, options.get("until", ()))
            self.cache_hook.add_partial("generate_until", (prompt, options), text)
            answers.append(text)
        return answers

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Not offered: crops are chosen while an answer is generated."""
        raise NotImplementedError("awares_edge answers questions; it gives no likelihoods")

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
        """Not offered."""
        raise NotImplementedError("awares_edge answers one question at a time")

    def clean(self) -> None:
        """Give the model's memory back."""
        self.model.close()

    def _ask(
        self, image: Image.Image, prompt: str, options: Mapping[str, Any], number: int
    ) -> Answer:
        if options.get("do_sample") or (options.get("temperature") or 0) > 0:
            raise InputError("awares_edge decodes greedily: set temperature to 0")
        with self._asked.open(image.convert("RGB")) as picture:
            return ask(
                picture,
                prompt.replace("<image>", "").strip(),
                self.mode,
                max_new_tokens=int(options.get("max_new_tokens", _MAX_NEW_TOKENS)),
                rng=np.random.default_rng([number, 11]),
            )


def _only_picture(visuals: Sequence[Any], task: str) -> Image.Image:
    if len(visuals) != 1 or not isinstance(visuals[0], Image.Image):
        raise InputError(f"awares_edge needs one picture a question; {task} gives something else")
    picture: Image.Image = visuals[0]
    return picture


def _cut(text: str, until: str | Sequence[str]) -> str:
    """The text up to the first stop string, as lmms-eval's own models cut it."""
    for stop in [until] if isinstance(until, str) else until:
        if stop:
            text = text.split(stop)[0]
    return text
