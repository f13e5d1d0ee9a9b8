"""Our own server, which runs the loop itself: the answer here is the answer there."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

import awares_edge
from awares_edge import AskOptions, CropsRequested, EndpointError, InputError, Policies, TextDelta
from tests.controller.scripted import CALL, IMAGE
from tests.remote.fake import Fault, faking, streamed
from tests.serve.support import ask, refused, serving

SAMPLES = Path(awares_edge.__file__).parent / "assets" / "samples"


@pytest.fixture(scope="module")
def samples():
    return json.loads((SAMPLES / "samples.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def local():
    with awares_edge.load(threads=1) as model:
        yield model


@pytest.fixture(scope="module")
def served():
    with (
        serving(model=awares_edge.load(threads=1)) as server,
        awares_edge.connect(server.url) as model,
    ):
        yield model


def facts(answer):
    """All of an answer but its times."""
    printed = answer.to_dict()
    del printed["timings_ms"]
    return printed, answer.crops, answer.view, answer.call_text, len(answer.turns)


class TestNano:
    @pytest.mark.parametrize("options", [
        AskOptions(), AskOptions(mode="full"), AskOptions(mode="low"), AskOptions(crops=("0", "3")),
        AskOptions(mode="progressive", max_calls=2), AskOptions(policies=Policies(max_rtr=0.3)),
        AskOptions(policies=Policies(max_crops=1, too_many_crops="whole-image")),
        AskOptions(decision_bias=-50.0), AskOptions(policies=Policies(abstain_below=0.99)),
    ], ids=["awares", "full", "low", "forced", "progressive", "budget", "policies", "bias",
            "abstain"])  # fmt: skip
    def test_answers_crops_and_counts_are_those_of_the_model(self, served, local, samples, options):
        for sample in samples:
            path = SAMPLES / sample["file"]
            # The server keeps pictures: what it reused is told, and only the first time the same.
            theirs = served.ask(path, sample["question"], options)
            ours = local.ask(path, sample["question"], options)
            assert theirs.text == ours.text
            assert theirs.crops == ours.crops
            assert theirs.rtr == ours.rtr
            assert theirs.policies == ours.policies
            assert theirs.confidence == pytest.approx(ours.confidence, abs=1e-4)
            assert theirs.withheld == ours.withheld
            assert theirs.decision_bias == ours.decision_bias

    def test_every_count_is_the_model_s_own(self, local, samples):
        with (
            serving(model=awares_edge.load(threads=1)) as server,
            awares_edge.connect(server.url) as model,
        ):
            for sample in samples:
                path, question = SAMPLES / sample["file"], sample["question"]
                assert facts(model.ask(path, question)) == facts(local.ask(path, question))

    def test_a_picture_is_kept_by_the_server(self, served, local, samples):
        path, question = SAMPLES / samples[1]["file"], "What is the title?"
        with served.open(path) as picture, local.open(path) as own:
            for asked in (samples[1]["question"], question):
                theirs, ours = picture.ask(asked), own.ask(asked)
            reused = [turn.reused_tokens for turn in theirs.turns]
            assert reused == [turn.reused_tokens for turn in ours.turns]
            assert reused[0] > 0

    def test_it_says_what_it_is(self, served, local):
        about = served.about
        assert (about.runtime, about.precision) == (local.about.runtime, local.about.precision)
        assert about.address.endswith("/v1")
        assert served.protocol == local.protocol

    def test_the_first_view_is_the_model_s(self, served, local, samples):
        path, question = SAMPLES / samples[0]["file"], samples[0]["question"]
        with served.open(path) as theirs, local.open(path) as ours:
            seen = [one.first_view(one.ask(question)) for one in (theirs, ours)]
        assert seen[0].tobytes() == seen[1].tobytes()


class TestEvents:
    def test_they_are_the_model_s(self):
        with (
            serving(CALL, "forty two") as server,
            awares_edge.connect(server.url) as model,
            model.open(IMAGE) as picture,
        ):
            *events, answer = picture.stream("What?")
        crops = [e.crops for e in events if isinstance(e, CropsRequested)]
        assert crops == [answer.crops]
        text = "".join(e.text for e in events if isinstance(e, TextDelta))
        assert text == answer.text == "forty two"

    def test_thoughts_are_told_apart(self):
        said = "<think>I see.</think><answer>42</answer>"
        scripted = awares_edge.scripted([said], protocol="visionthink")
        with serving(model=scripted) as server, awares_edge.connect(server.url) as model:
            answer = model.ask(IMAGE, "What?")
        assert (answer.text, answer.reasoning_tokens) == ("42", len(answer.reasoning))
        assert "I see." in answer.reasoning

    def test_a_profile_of_the_server_s_own_comes_with_it(self, tmp_path):
        path = tmp_path / "mine.json"
        fields = {**asdict(awares_edge.PROFILES["paper"]), "name": "mine", "max_pixels": 100_000}
        path.write_text(json.dumps(fields))
        scripted = awares_edge.scripted(["42"], protocol=str(path))
        with serving(model=scripted) as server, awares_edge.connect(server.url) as model:
            assert (model.protocol.name, model.protocol.max_pixels) == ("mine", 100_000)
            assert model.ask(IMAGE, "What?").protocol == "mine"

    def test_the_same_profile_may_be_named(self):
        """One whose description is another version's is the same."""
        older = replace(awares_edge.PROFILES["nano"], about="")
        scripted = awares_edge.scripted(["42"])
        scripted.protocol = older
        with (
            serving(model=scripted) as server,
            awares_edge.connect(server.url, protocol="nano") as model,
        ):
            assert model.protocol == older

    def test_an_answer_that_the_limit_cut_is_cut(self):
        with serving("a long answer") as server, awares_edge.connect(server.url) as model:
            answer = model.ask(IMAGE, "What?", AskOptions(max_new_tokens=5))
        assert (answer.text, answer.finish) == ("a lon", "length")


class TestConversations:
    def test_the_server_gets_what_was_said_before(self):
        follow = AskOptions(follow_up=True)
        asked = []
        with (
            serving("red", "blue", "green") as server,
            awares_edge.connect(server.url) as model,
            model.open(IMAGE) as picture,
        ):
            encode = server.model.prompt._encode
            server.model.prompt._encode = lambda text: asked.append(text) or encode(text)
            picture.ask("Which colour?")
            picture.ask("And below?", follow)
            picture.forget()
            picture.ask("And now?", follow)
        first, second, third = (text for text in asked if "?" in text and "user" not in text)
        assert first.endswith("Which colour?")
        assert second.endswith("User: Which colour?\nAssistant: red\n\nAnd below?")
        assert "Earlier" not in third


class TestRefusals:
    def test_the_profile_is_the_server_s(self):
        with serving() as server, pytest.raises(InputError, match="by the profile 'paper'"):
            awares_edge.connect(server.url, protocol="nano")

    def test_calls_are_held_to_their_grammar(self):
        with (
            serving() as server,
            awares_edge.connect(server.url) as model,
            pytest.raises(InputError, match="leave constrain out"),
        ):
            model.ask(IMAGE, "What?", AskOptions(constrain=False))

    def test_another_model(self):
        with serving() as server, pytest.raises(InputError, match="no model 'mine'"):
            awares_edge.connect(server.url, model="mine")

    def test_a_crop_that_is_not_offered(self):
        with (
            serving("x") as server,
            awares_edge.connect(server.url) as model,
            pytest.raises(EndpointError, match="HTTP 400"),
        ):
            model.ask(IMAGE, "What?", AskOptions(crops=("77",)))

    @pytest.mark.parametrize("body", [
        {"mode": "best"}, {"speed": 1}, {"max_calls": 0}, {"max_rtr": 0}, {"crops": "0"},
        {"mode": "low", "crops": ["0"]},
    ])  # fmt: skip
    def test_the_server_refuses_what_it_cannot_do(self, body):
        with serving("x") as server:
            response = server.post(ask(awares=body))
            assert response.status_code == 400
            assert "message" in response.json()["error"]

    def test_a_key_that_is_wrong(self):
        token = "a-token-of-sixteen"
        with serving("red", token=token) as server:
            with pytest.raises(EndpointError, match="AWARES_EDGE_ENDPOINT_KEY"):
                awares_edge.connect(server.url)
            with awares_edge.connect(server.url, key=token) as model:
                assert model.ask(IMAGE, "What?").text == "red"
            refused(server.post(ask()), 401, "invalid_api_key")


class TestOtherVersions:
    """A server that calls itself ours, and says something else."""

    def asked(self, *replies):
        # One body for both lists: that of models, and that of properties.
        models = {"data": [{"id": "m", "awares": {"runtime": "onnx", "protocol": "paper"}}]}
        props = {"awares": {"profile": asdict(awares_edge.PROFILES["paper"])}}
        with (
            faking(*replies, models={**models, **props}) as fake,
            awares_edge.connect(fake.url) as model,
        ):
            return model.ask(IMAGE, "What?")

    def test_without_its_fields(self):
        with pytest.raises(EndpointError, match="lacks the fields that an awares-edge server"):
            self.asked(Fault(body=streamed("red")))

    @pytest.mark.parametrize("told", [{}, {"answer": 3}, {"answer": "red", "mode": "best"}])
    def test_with_others(self, told):
        body = streamed("red", {"choices": [], "awares": {"asked": True, **told}})
        with pytest.raises(EndpointError, match="of a different version"):
            self.asked(Fault(body=body))

    def test_with_crops_that_are_none(self):
        body = streamed({"choices": [], "awares": {"zooming": [{"id": 3}]}})
        with pytest.raises(EndpointError, match="did not answer with a chat completion"):
            self.asked(Fault(body=body))
