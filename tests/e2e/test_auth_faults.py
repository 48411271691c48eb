"""Auth under faults and races: failing triggers, one address signed up twice at once, parts that stop."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from .auth_target import PASSWORD, AuthTarget, address, running


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuthTarget]:
    with running(tmp_path_factory.mktemp("open"), environment={"AUTH_TOKEN_LIFETIME": "2"}) as started:
        yield started


@pytest.fixture
def trigger(target: AuthTarget) -> Iterator[None]:
    """As a hosted project's migration would make it: by `postgres`, security definer, empty search_path."""
    with target.database() as database:
        database.execute("""
            set role postgres;
            create table public.seen (id uuid, kind text, first_name text, event text, confirmed boolean);
            create function public.see() returns trigger language plpgsql security definer set search_path = '' as $$
            begin
                if new.raw_user_meta_data ->> 'first_name' = 'fail' then
                    raise exception 'a secret of the database';
                end if;
                insert into public.seen values (
                    new.id, jsonb_typeof(new.raw_user_meta_data), new.raw_user_meta_data ->> 'first_name',
                    tg_op, new.email_confirmed_at is not null
                );
                return new;
            end $$;
            revoke execute on function public.see() from public;
            create trigger see after insert or update of raw_user_meta_data, email_confirmed_at on auth.users
                for each row execute function public.see();
            reset role
        """)
    yield
    with target.database() as database:
        database.execute("drop trigger see on auth.users; drop function public.see(); drop table public.seen")


def _sign_up(target: AuthTarget, email: str, first_name: str = "Ana") -> httpx.Response:
    given = {"email": email, "password": PASSWORD, "data": {"first_name": first_name}}
    return target.call("POST", "/signup", json=given)


@pytest.mark.usefixtures("trigger")
def test_trigger_reads_the_metadata_as_an_object(target: AuthTarget) -> None:
    session = _sign_up(target, address()).json()
    target.call("PUT", "/user", session["access_token"], json={"data": {"first_name": "Eva"}})
    with target.database() as database:
        rows = database.execute(
            "select kind, first_name, event, confirmed from public.seen where id = %s", [session["user"]["id"]]
        )
        # an account is inserted unconfirmed and then confirmed, in one transaction, also where no mail goes out
        assert rows.fetchall() == [
            ("object", "Ana", "INSERT", False),
            ("object", "Ana", "UPDATE", True),
            ("object", "Eva", "UPDATE", True),
        ]


@pytest.mark.usefixtures("trigger")
def test_failing_trigger_is_500_leaves_nothing_and_tells_nothing(target: AuthTarget) -> None:
    email = address()
    answer = _sign_up(target, email, "fail")
    assert answer.status_code == 500
    assert answer.json() == {"code": 500, "error_code": "unexpected_failure", "msg": "Database error saving new user"}
    with target.database() as database:
        assert database.execute("select count(*) from auth.users where email = %s", [email]).fetchone() == (0,)
    assert _sign_up(target, email).status_code == 200
    made = target.call(
        "PUT", "/user", _sign_up(target, address()).json()["access_token"], json={"data": {"first_name": "fail"}}
    )
    assert (made.status_code, made.json()["error_code"]) == (500, "unexpected_failure")


def test_one_address_signed_up_at_once_is_one_account(target: AuthTarget) -> None:
    email = address()
    gate = threading.Barrier(6)

    def sign_up() -> httpx.Response:
        gate.wait()
        return _sign_up(target, email)

    with ThreadPoolExecutor(6) as threads:
        answers = [done.result() for done in [threads.submit(sign_up) for _ in range(6)]]
    assert sorted(answer.status_code for answer in answers) == [200] + [422] * 5
    assert {answer.json()["error_code"] for answer in answers if answer.status_code == 422} == {"user_already_exists"}
    with target.database() as database:
        assert database.execute("select count(*) from auth.users where email = %s", [email]).fetchone() == (1,)


def test_reused_token_ends_the_whole_session(target: AuthTarget) -> None:
    """As hosted: beyond the interval, and with a newer token in use, a used one is a stolen one."""
    session = _sign_up(target, address()).json()

    def refresh(token: str) -> httpx.Response:
        return target.call("POST", "/token", params={"grant_type": "refresh_token"}, json={"refresh_token": token})

    tokens = [session["refresh_token"]]
    for _ in range(3):
        tokens.append(refresh(tokens[-1]).json()["refresh_token"])
    assert len(set(tokens)) == 4
    # past the gateway, which answers alike for ten seconds
    auth = _auth_url(target)
    stolen = httpx.post(f"{auth}/auth/v1/token?grant_type=refresh_token", json={"refresh_token": tokens[0]})
    assert (stolen.status_code, stolen.json()["error_code"]) == (400, "refresh_token_already_used")
    latest = httpx.post(f"{auth}/auth/v1/token?grant_type=refresh_token", json={"refresh_token": tokens[-1]})
    assert latest.status_code == 400


def _auth_url(target: AuthTarget) -> str:
    from local.installation import load

    return f"http://127.0.0.1:{load(target.mail_dir.parent).ports.auth}"


def test_expired_token_is_refused_and_refreshed(target: AuthTarget) -> None:
    session = _sign_up(target, address()).json()
    assert session["expires_in"] == 2
    deadline = threading.Event()
    for _ in range(100):
        answer = target.call("GET", "/user", session["access_token"])
        if answer.status_code == 403:
            break
        deadline.wait(0.1)
    assert answer.json()["error_code"] == "bad_jwt" and "expired" in answer.json()["msg"]
    fresh = target.call(
        "POST", "/token", params={"grant_type": "refresh_token"}, json={"refresh_token": session["refresh_token"]}
    ).json()
    assert target.call("GET", "/user", fresh["access_token"]).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/factors", {"factor_type": "totp"}),
        ("POST", "/sso", {"domain": "x.example"}),
        ("GET", "/authorize?provider=github", None),
        ("GET", "/user/identities/authorize?provider=github", None),
    ],
)
def test_what_the_local_stack_lacks_is_refused_clearly(
    target: AuthTarget, method: str, path: str, body: dict[str, str] | None
) -> None:
    answer = target.call(method, path, _sign_up(target, address()).json()["access_token"], json=body)
    assert (answer.status_code, answer.json()["error_code"]) == (501, "not_supported_locally")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "anonymous_provider_disabled"),
        ({"phone": "+15550100", "password": PASSWORD}, "phone_provider_disabled"),
        ({"email": "no address", "password": PASSWORD}, "validation_failed"),
        ({"email": "a@example.test"}, "validation_failed"),
        ({"email": "a@example.test", "password": "x" * 73}, "validation_failed"),
        ({"email": ["a@example.test"], "password": PASSWORD}, "bad_json"),
        ({"email": "a@example.test", "password": PASSWORD, "data": "text"}, "bad_json"),
        ([], "bad_json"),
    ],
)
def test_wrong_input_is_a_refusal_never_a_fault(target: AuthTarget, body: object, code: str) -> None:
    answer = target.call("POST", "/signup", json=body)
    assert answer.status_code in (400, 422) and answer.json()["error_code"] == code


def test_no_json_at_all_is_a_refusal(target: AuthTarget) -> None:
    answer = target.call("POST", "/signup", content=b"{")
    assert (answer.status_code, answer.json()["error_code"]) == (400, "bad_json")


def test_change_of_address_needs_no_mail_where_none_is_confirmed(target: AuthTarget) -> None:
    session, new = _sign_up(target, address()).json(), address()
    changed = target.call("PUT", "/user", session["access_token"], json={"email": new}).json()
    assert changed["email"] == new and not target.mail_dir.exists()
    taken = target.call(
        "PUT", "/user", session["access_token"], json={"email": _sign_up(target, address()).json()["user"]["email"]}
    )
    assert (taken.status_code, taken.json()["error_code"]) == (422, "email_exists")
