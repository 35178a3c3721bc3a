import pytest

from services.cli.up import plan, pretend
from services.common.settings import Address


def test_the_shell_wins_over_dotenv():
    env = plan.environment({"A": "shell"}, {"A": "file", "B": "file", "C": None, "D": ""}, sandbox=False)
    assert env == {"A": "shell", "B": "file"}


def test_the_demo_does_not_touch_the_stores_of_dotenv():
    dotenv = {"DATABASE_URL": "mongodb://real/igbot", "REDIS_URL": "redis://real", "OPENAI_API_KEY": "sk-real"}
    assert plan.environment({}, dotenv, sandbox=True) == {"OPENAI_API_KEY": "sk-real"}


def test_ports_are_the_documented_ones():
    ports = plan.choose_ports({}, 0)
    assert {name: address.port for name, address in ports.listen.items()} == {
        "gateway": 8080,
        "tokens": 50051,
        "responder": 50052,
        "sandbox": 8090,
    }
    assert [ports.ops[name].port for name in ("gateway", "tokens", "responder", "sandbox")] == [9090, 9091, 9092, 9093]


def test_all_ports_can_be_moved_at_once():
    ports = plan.choose_ports({}, 1000)
    assert ports.listen["gateway"] == Address("127.0.0.1", 9080)
    assert ports.ops["sandbox"] == Address("127.0.0.1", 10093)


def test_a_variable_says_where_one_service_listens():
    ports = plan.choose_ports({"LISTEN_ADDRESS": ":80", "TOKENS_ADDRESS": "127.0.0.1:7", "OPS_ADDRESS": ":81"}, 1000)
    assert ports.listen["gateway"] == Address("", 80)
    assert ports.listen["tokens"] == Address("127.0.0.1", 7)
    assert ports.ops["gateway"] == Address("", 81)
    assert ports.ops["tokens"] == Address("127.0.0.1", 10091)


def test_each_child_is_told_its_own_address():
    ports = plan.choose_ports({}, 0)
    child = plan.service("tokens", {"A": "b"}, ports)
    assert child.env == {"A": "b", "LISTEN_ADDRESS": "127.0.0.1:50051", "OPS_ADDRESS": "127.0.0.1:9091"}
    assert child.command[-1] == "tokens"


def test_the_gateway_stops_quickly_unless_told_otherwise():
    ports = plan.choose_ports({}, 0)
    assert plan.service("gateway", {}, ports).env["DRAIN_SECONDS"] == plan.GATEWAY_DRAIN_SECONDS
    assert plan.service("gateway", {"DRAIN_SECONDS": "30"}, ports).env["DRAIN_SECONDS"] == "30"


def test_secrets_are_not_in_what_is_printed():
    ports = plan.choose_ports({}, 0)
    assert "hunter2" not in repr(plan.service("tokens", {"APP_SECRET": "hunter2"}, ports))


def test_without_a_model_key_the_sandbox_answers():
    told = pretend.pretend({}, plan.choose_ports({}, 0), secret="s")
    assert told["OPENAI_BASE_URL"] == "http://127.0.0.1:8090/v1"


def test_with_a_model_key_the_real_model_answers():
    told = pretend.pretend({"OPENAI_API_KEY": "sk-real"}, plan.choose_ports({}, 0), secret="s")
    assert told["OPENAI_API_KEY"] == "sk-real"
    assert "OPENAI_BASE_URL" not in told


def test_the_real_instagram_of_dotenv_is_not_called_by_the_demo():
    real = {"INSTAGRAM_CLIENT_ID": "real", "GRAPH_URL": "https://graph.instagram.com", "APP_SECRET": "real"}
    told = pretend.pretend(real, plan.choose_ports({}, 0), secret="s")
    assert "real" not in told.values()
    assert told["GRAPH_URL"] == "http://127.0.0.1:8090"


@pytest.mark.parametrize(("listen", "is_open"), [("127.0.0.1:8080", "true"), (":8080", "false")])
def test_connect_is_open_on_loopback_alone(listen, is_open):
    told = pretend.pretend({}, plan.choose_ports({"LISTEN_ADDRESS": listen}, 0), secret="s")
    assert told["CONNECT_OPEN"] == is_open
