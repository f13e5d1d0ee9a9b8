"""Whatever a server does, a question ends with an answer or one line, in bounded time."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

import awares_edge
from awares_edge import AskOptions, Cancelled, ContextOverflow, DeadlineExceeded, EndpointError
from awares_edge.errors import InputError, SessionError
from awares_edge.remote import events, exchange, http
from awares_edge.remote.address import Address
from awares_edge.remote.exchange import StatusError
from awares_edge.remote.http import Server
from tests.remote.fake import Fault, faking, streamed, wait_for

IMAGE = Image.new("RGB", (120, 90), "red")


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Waits between tries, noted instead of waited."""
    waits = []
    monkeypatch.setattr(
        Server.__init__, "__kwdefaults__", {"silence": 120.0, "sleep": waits.append}
    )
    return waits


def ask(fake, options=None, **more):
    with awares_edge.connect(fake.url, protocol="paper", **more) as model:
        return model.ask(IMAGE, "What?", options)


def fails(reply, error=EndpointError, match="", **more):
    with faking(reply) as fake, pytest.raises(error, match=match) as caught:
        ask(fake, **more)
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()


class TestReplies:
    @pytest.mark.parametrize("body", [
        b"", streamed("red", done=False), streamed("re", done=False) + b"data: {\"cho",
    ], ids=["nothing", "no end", "in a chunk"])  # fmt: skip
    def test_a_stream_that_ends_too_early(self, body):
        fails(Fault(body=body), match="broke off|not JSON")

    def test_a_connection_that_breaks(self):
        fails(Fault(body=streamed("red", done=False), declared=9999), match="broke off")

    @pytest.mark.parametrize("body", [
        b"data: {\n\n", b"data: []\n\n", b"data: \xff\xfe\n\n", b'data: {"a": NaN}\n\n',
        b'data: {"a":' * 3000 + b"\n\n", b'data: {"a": 1, "a": 2}\n\n',
        streamed({"choices": 3}), streamed({"choices": [3]}),
        streamed({"choices": [{"delta": 3}]}), streamed({"choices": [{"delta": {"content": 3}}]}),
    ])  # fmt: skip
    def test_what_is_not_a_chat_completion(self, body):
        fails(Fault(body=body), match="with a chat completion")

    @pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"choices": []}', b'{"choices": [1]}'])
    def test_what_is_not_a_whole_one(self, body):
        fails(Fault(body=body, kind="application/json"), match="with a chat completion")

    def test_an_error_in_the_stream(self):
        error = {"error": {"message": "out of\nmemory\x1b[31m", "code": 500}}
        fails(Fault(body=streamed("re", error)), match=r"failed while it answered: 'out of\\nmem")

    def test_an_error_in_the_stream_that_says_that_the_context_is_short(self):
        error = {"error": {"message": "...", "type": "exceed_context_size_error", "code": 400}}
        fails(Fault(body=streamed(error)), ContextOverflow, "server's context")

    def test_a_reply_without_end(self, monkeypatch):
        monkeypatch.setattr(exchange.Exchange.pieces, "__defaults__", (4096,))
        fails(Fault(body=streamed(*["red"] * 200)), match="over 4,096 bytes")

    def test_a_line_without_end(self, monkeypatch):
        monkeypatch.setattr(events, "MAX_LINE", 4096)
        fails(Fault(body=b"data: " + b"x" * 200_000), match="a line of its stream is over 4,096")

    def test_half_a_character_is_replaced(self):
        with faking(Fault(body=streamed(r"ab" + "\ud800"))) as fake:
            assert ask(fake).text == "ab?"

    def test_counts_that_are_none_are_not_reported(self):
        usage = {"prompt_tokens": -1, "completion_tokens": True, "prompt_tokens_details": [1]}
        timings = {"prompt_ms": "12", "predicted_ms": 1e300}
        body = streamed("red", {"choices": [], "usage": usage, "timings": timings})
        with faking(Fault(body=body)) as fake:
            answer = ask(fake)
        assert answer.text == "red"
        assert {"prefill_tokens", "decode_tokens", "decode"} <= answer.turns[0].unreported


class TestStatuses:
    @pytest.mark.parametrize("status", [429, 503])
    def test_a_busy_server_is_asked_again(self, status, at_once):
        busy = Fault(status, headers={"Retry-After": "7"})
        with faking(busy, Fault(status), Fault(status, headers={"Retry-After": "9" * 6}),
                    "red") as fake:  # fmt: skip
            assert ask(fake).text == "red"
        assert at_once == [7.0, 1.0, 120.0]

    def test_and_given_up(self):
        with faking(*[Fault(429)] * 9) as fake, pytest.raises(EndpointError, match="busy"):
            ask(fake)
        assert len(fake.requests) == http.MAX_ATTEMPTS

    def test_not_after_the_deadline(self, at_once):
        busy = Fault(503, headers={"Retry-After": "60"})
        with faking(busy) as fake, pytest.raises(EndpointError, match="busy"):
            ask(fake, AskOptions(timeout=20))
        assert at_once == []

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 500, 502])
    def test_others_are_not_asked_again(self, status):
        body = b'{"error": {"message": "because"}}'
        message = rf"HTTP {status}: 'because'"
        with (
            faking(Fault(status, body), "red") as fake,
            pytest.raises(EndpointError, match=message),
        ):
            ask(fake)
        assert len(fake.requests) == 1

    @pytest.mark.parametrize("body", [
        b"<html>", b"{", b"[]", b"\xff", b'{"error": {"message": 3}}', b'{"error": [1]}',
    ])  # fmt: skip
    def test_errors_in_other_shapes(self, body):
        fails(Fault(500, body), match=r"HTTP 500\): see its log")

    def test_a_context_that_is_too_short(self):
        body = b'{"error": {"message": "This model\'s maximum context length is 512 tokens."}}'
        fails(Fault(400, body), ContextOverflow, "do not fit")


class TestKeys:
    def test_the_key_comes_from_the_environment(self, monkeypatch):
        monkeypatch.setenv("AWARES_EDGE_ENDPOINT_KEY", "secret-key")
        with faking("red") as fake:
            ask(fake)
        assert fake.keys == ["Bearer secret-key"] * 2

    def test_none_is_sent_without(self, monkeypatch):
        monkeypatch.setenv("OPENAI_API_KEY", "another-server's")
        with faking("red") as fake:
            ask(fake)
        assert fake.keys == [None, None]

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_it_is_not_carried_to_where_a_server_points(self, status):
        with faking() as other, faking() as fake:
            fake.replies.append(Fault(status, headers={"Location": f"{other.url}/x"}))
            with pytest.raises(EndpointError, match="redirects to another address"):
                ask(fake, key="secret-key")
            assert other.paths == []

    def test_it_is_not_in_any_error(self):
        with faking(Fault(401, b"")) as fake, pytest.raises(EndpointError) as caught:
            ask(fake, key="secret-key")
        assert "secret-key" not in str(caught.value)
        assert "AWARES_EDGE_ENDPOINT_KEY" in str(caught.value)


class TestStopping:
    @pytest.mark.parametrize("fault", [
        Fault(hang=True), Fault(body=streamed("re", done=False), declared=9999, stall=True),
    ], ids=["before the first byte", "in the middle"])  # fmt: skip
    def test_a_deadline_closes_the_connection(self, fault):
        with faking(fault) as fake:
            with pytest.raises(DeadlineExceeded) as caught:
                ask(fake, AskOptions(timeout=0.3))
            wait_for(fake.left)
        assert caught.value.partial == ("" if fault.hang else "re")

    def test_cancelling_closes_the_connection(self):
        cancel = threading.Event()
        with faking(Fault(hang=True)) as fake:
            timer = threading.Timer(0.2, cancel.set)
            timer.start()
            with pytest.raises(Cancelled):
                ask(fake, AskOptions(cancel=cancel))
            wait_for(fake.left)

    def test_a_stream_that_is_left_closes_the_connection(self):
        fault = Fault(body=streamed("red and", done=False), declared=9999, stall=True)
        with (
            faking(fault, "blue") as fake,
            awares_edge.connect(fake.url, protocol="paper") as model,
            model.open(IMAGE) as picture,
        ):
            stream = picture.stream("What?")
            next(stream)
            stream.close()
            wait_for(fake.left)
            assert picture.ask("What?").text == "blue"

    def test_closing_the_model_ends_its_questions(self):
        with faking(Fault(hang=True)) as fake:
            model = awares_edge.connect(fake.url, protocol="paper")
            timer = threading.Timer(0.2, model.close)
            timer.start()
            with pytest.raises(SessionError, match="connect again"):
                model.ask(IMAGE, "What?")
            with pytest.raises(SessionError):
                model.open(IMAGE)
            model.close()
            timer.join()

    def test_a_silent_server_is_given_up(self):
        fails(Fault(hang=True), match="did not answer in time", timeout=0.2)

    def test_one_question_at_a_time(self):
        with (
            faking("red", "blue") as fake,
            awares_edge.connect(fake.url, protocol="paper") as model,
            model.open(IMAGE) as picture,
        ):
            stream = picture.stream("What?")
            next(stream)
            with pytest.raises(SessionError, match="answering another question"):
                picture.ask("Where?")
            picture.close()
            picture.close()
            with pytest.raises(SessionError, match="open it again"):
                next(stream)


class TestConnections:
    def test_a_connection_is_kept_for_the_next_turn(self):
        image = Image.new("RGB", (448, 448))
        with (
            faking("GET_CROPS: ['3']", "red", "blue") as fake,
            awares_edge.connect(fake.url, protocol="paper") as model,
        ):
            model.ask(image, "What?")
            model.ask(image, "What?")
        assert len(fake.requests) == 3
        assert fake.connections == 1

    def test_one_that_the_server_has_closed_is_made_anew(self):
        with (
            faking("red", "blue") as fake,
            awares_edge.connect(fake.url, protocol="paper") as model,
        ):
            model.ask(IMAGE, "What?")
            [(_, kept)] = model._link.server._kept
            kept.sock.shutdown(2)
            assert model.ask(IMAGE, "What?").text == "blue"

    def test_threads_have_one_each(self):
        with (
            faking(*["red"] * 12) as fake,
            awares_edge.connect(fake.url, protocol="paper") as model,
            ThreadPoolExecutor(12) as threads,
        ):
            answers = list(threads.map(lambda _: model.ask(IMAGE, "What?").text, range(12)))
        assert answers == ["red"] * 12

    def test_nobody_there(self):
        with pytest.raises(EndpointError, match=r"cannot reach http://127\.0\.0\.1:9/v1"):
            awares_edge.connect("http://127.0.0.1:9")

    def test_a_proxy_of_the_environment_is_used(self, monkeypatch):
        with faking() as proxy:
            monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/v1"))
            monkeypatch.setenv("no_proxy", "")
            with awares_edge.connect("http://model.test/v1", protocol="paper"):
                assert proxy.paths == ["http://model.test/v1/models"]


class TestAddresses:
    @pytest.mark.parametrize("url", [
        "localhost:8000/v1", "", "file:///etc/passwd", "ftp://host/v1", "http://[::1/v1",
        "http:///v1", "http://host:99999/v1", "http://ho st/v1", "http://h\u00f6st/v1", "http://host\n/v1",
    ])  # fmt: skip
    def test_what_is_not_one(self, url):
        with pytest.raises(InputError, match="not the address of a server"):
            awares_edge.connect(url)

    def test_a_password_is_not_taken_from_one(self):
        with pytest.raises(InputError, match="must not hold a user name or a password"):
            awares_edge.connect("https://me:secret@host/v1")

    @pytest.mark.parametrize("url", ["http://host/v1?key=1", "http://host/v1#top"])
    def test_nothing_behind_the_path(self, url):
        with pytest.raises(InputError, match="more than a server's address"):
            awares_edge.connect(url)

    def test_the_path_may_be_left_out(self):
        with faking() as fake, awares_edge.connect(fake.url.removesuffix("/v1"), protocol="paper"):
            assert fake.paths == ["/v1/models"]

    def test_a_certificate_is_verified(self):
        context = Address.parse("https://host/v1").connection(1.0)._context
        assert context.check_hostname
        assert context.verify_mode.name == "CERT_REQUIRED"


class TestRetryAfter:
    @pytest.mark.parametrize(
        "text", ["-1", "1e9", "nan", "Wed, 21 Oct 2026 07:28:00 GMT", "\u0663"]
    )
    def test_what_is_not_a_number_of_seconds_is_not_waited_for(self, text, at_once):
        fault = Fault(503, headers={"Retry-After": text.encode("utf-8").decode("latin-1")})
        with faking(fault, "red") as fake:
            ask(fake)
        assert at_once == [0.5]

    def test_of_an_error_s_body_only_a_part_is_read(self):
        with faking(Fault(500, b"x" * (1 << 20))) as fake:
            server = Server(Address.parse(fake.url))
            with (
                pytest.raises(StatusError) as caught,
                server.request("POST", f"{fake.url}/chat/completions", b'{"max_tokens": 1}'),
            ):
                pass
            server.close()
        assert len(caught.value.body) == exchange.MAX_ERROR_BYTES
