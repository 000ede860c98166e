"""`little-monster up`: start the parts of a stack, watch over them, stop them in reverse."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager

import httpx
from rich.console import Console

from little_monster.platform.embedded.board import Board, Stage
from little_monster.platform.embedded.chat_model import NAME, prepare_chat_model
from little_monster.platform.embedded.instance import (
    DataFolderLock,
    Instance,
    forget_instance,
    read_instance,
    stop_marked,
)
from little_monster.platform.embedded.layout import write_json
from little_monster.platform.embedded.machine import check_machine
from little_monster.platform.embedded.migration import migrate_embedded, migrate_given
from little_monster.platform.embedded.process import Child, Stopped, Waiter
from little_monster.platform.embedded.readiness import not_ready
from little_monster.platform.embedded.serve import (
    apply_graph,
    end_jobs,
    names_model,
    read_serve_config,
    wait_for_graph,
)
from little_monster.platform.embedded.stack import Stack
from little_monster.platform.errors import StartupError

_READY_TIMEOUT_S = 300
_STOP_ORDER = ("ray", "valkey", "postgres")
_GRACE_S = {"valkey": 10.0, "postgres": 15.0}
_RAY_GRACE_S = 6.0
_JOBS_GRACE_S = 30.0
_YOURS = "yours"


class Supervisor:
    """Starts a stack and keeps it until the operator, or a part that dies, ends it.

    Args:
        stack: what to start.
        console: where the stages are shown.

    Raises:
        ConfigurationError: the Serve configuration cannot be read.
    """

    def __init__(self, stack: Stack, console: Console) -> None:
        self._stack, self._console = stack, console
        self._waiter = Waiter()
        self._board = Board(console)
        self._lock = threading.Lock()
        self._children: dict[str, Child] = {}
        self._config = read_serve_config(stack.settings.runtime.serve_config, stack.ray.ports.http)
        self._instance = Instance.new(stack.identity, {**stack.ray.ports.named()})

    def run(self, announce: Callable[[Instance], None]) -> None:
        """Start everything, call `announce`, and return when the operator has stopped it and all is down.

        Raises:
            StartupError: a stage failed, or a part died later; what had been started is stopped by then.
        """
        with self._alone(), self._signals():
            try:
                with self._board.shown():
                    self._start()
                announce(self._instance)
                self._watch()
            except Stopped:
                self._console.print("\n[bold]Stopping[/]")
            finally:
                self._stop()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the data folder; end first what an earlier `up` left that was killed."""
        data, lock = self._stack.data, DataFolderLock(self._stack.data)
        earlier = read_instance(data)
        if not lock.take():
            where = f" (process {earlier.pid})" if earlier else ""
            raise StartupError(
                "up",
                f"it already runs on {data.root}{where}",
                "`make down` stops it, `little-monster status` shows it",
            )
        try:
            if earlier and (left := stop_marked(earlier.id)):
                self._console.print(f"[dim]Ended {left} processes that an earlier start had left.[/]")
            yield
        finally:
            lock.release()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self._on_signal) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, *_: object) -> None:
        self._waiter.stopping.set()

    def _start(self) -> None:
        stack = self._stack
        with self._board.stage("machine") as stage:
            stage.note = check_machine(stack.data.root, stack.ray.ports)
        self._instance.save(stack.data)
        # Ray takes longest and needs nothing of the others, which fit beside it.
        self._together(self._start_ray, self._start_database, self._start_valkey, self._prepare_model)
        with self._board.stage("graph") as stage:
            self._deploy(stage)
        with self._board.stage("ready") as stage:
            self._wait_ready(stage)
        self._remember_ready()

    def _together(self, *steps: Callable[[], None]) -> None:
        """Run steps side by side; when one fails, end the others and raise its error."""
        with ThreadPoolExecutor(len(steps)) as pool:
            futures: list[Future[None]] = [pool.submit(step) for step in steps]
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            interrupted = self._waiter.stopping.is_set()
            failed = [future for future in done if future.exception() is not None]
            if failed:
                self._waiter.stopping.set()
        errors = [error for future in failed if (error := future.exception()) is not None]
        for error in errors:
            if not isinstance(error, Stopped):
                raise error
        if errors or interrupted:
            raise Stopped

    def _prepare_model(self) -> None:
        stack = self._stack
        if not names_model(self._config, NAME):
            self._board.skip("model", "the graph uses another model")
            return
        with self._board.stage("model") as stage:
            stage.note = "SmolLM2-135M-Instruct, once"
            made = prepare_chat_model(stack.data, stack.service_environment(), self._waiter)
            stage.note = "SmolLM2-135M-Instruct" if made else "SmolLM2-135M-Instruct was there"

    def _start_database(self) -> None:
        stack = self._stack
        if stack.postgres is None:
            self._board.skip("postgres", _YOURS)
            with self._board.stage("migrate") as stage:
                stage.note = migrate_given(stack.settings.database)
            return
        with self._board.stage("postgres") as stage:
            self._keep(stack.postgres.start(stack.service_environment(), self._waiter))
            stage.note = "18, on a unix socket"
        with self._board.stage("migrate") as stage:
            stage.note = migrate_embedded(stack.postgres)

    def _start_valkey(self) -> None:
        stack = self._stack
        if stack.valkey is None:
            self._board.skip("valkey", _YOURS)
            return
        with self._board.stage("valkey") as stage:
            self._keep(stack.valkey.start(stack.service_environment(), self._waiter))
            stage.note = "on a unix socket"

    def _start_ray(self) -> None:
        with self._board.stage("ray") as stage:
            self._keep(self._stack.ray.start(self._stack.environment(), self._waiter))
            stage.note = self._stack.ray.dashboard_url

    def _deploy(self, stage: Stage) -> None:
        def note(text: str) -> None:
            stage.note = text

        with self._stack.ray.dashboard() as dashboard:
            apply_graph(dashboard, self._config, self._stack.ray.serve_logs)
            wait_for_graph(dashboard, self._waiter, note, self._stack.ray.serve_logs)

    def _wait_ready(self, stage: Stage) -> None:
        url = f"http://127.0.0.1:{self._stack.ray.ports.http}/readyz"
        deadline = time.monotonic() + _READY_TIMEOUT_S
        with httpx.Client(timeout=10) as client:
            while (waiting := not_ready(client, url)) is not None:
                stage.note = waiting
                if time.monotonic() > deadline:
                    raise StartupError("ready", waiting, f"read the logs in {self._stack.data.logs}")
                self._waiter.pause(0.25)
        stage.note = url

    def _remember_ready(self) -> None:
        ports = self._stack.ray.ports
        self._instance.state = "ready"
        self._instance.urls = {
            "api": f"http://127.0.0.1:{ports.http}",
            "dashboard": self._stack.ray.dashboard_url,
        }
        self._instance.save(self._stack.data)
        seconds = round(self._board.total(), 2)
        self._console.print(f"[bold green]Ready after {seconds:.1f} s[/]")
        write_json(
            self._stack.data.run / "startup.json", {"seconds": seconds, "stages": self._board.breakdown()}
        )

    def _keep(self, child: Child) -> None:
        with self._lock:
            self._children[child.name] = child
            self._instance.children[child.name] = child.pid
            self._instance.save(self._stack.data)

    def _watch(self) -> None:
        """Return never: `Stopped` ends it, or the death of a part that cannot be started again by itself."""
        while True:
            self._waiter.pause(1.0)
            for name in ("postgres", "valkey", "ray"):
                child = self._children.get(name)
                if child is not None and not child.running():
                    raise StartupError(name, f"it ended: {child.last_words()}", f"read {child.log}")

    def _stop(self) -> None:
        """Stop what was started, last first, and then whatever else carries this stack's mark."""
        self._finish_jobs()
        for name in _STOP_ORDER:
            child = self._children.get(name)
            if child is not None:
                self._stop_child(name, child)
        stop_marked(self._stack.identity)
        forget_instance(self._stack.data)

    def _finish_jobs(self) -> None:
        """Let running jobs end, or go back to the queue, while everything they need is still there."""
        ray = self._children.get("ray")
        if ray is None or not ray.running() or self._instance.state != "ready":
            return
        begin = time.monotonic()
        with self._stack.ray.dashboard() as dashboard:
            if end_jobs(dashboard, self._config, _JOBS_GRACE_S):
                self._stopped("jobs", begin)

    def _stop_child(self, name: str, child: Child) -> None:
        begin = time.monotonic()
        if name == "ray":
            # Ray's own way waits half a minute for actors that nobody ends: ask all its processes at once.
            kept = [self._children[other].pid for other in ("valkey", "postgres") if other in self._children]
            stop_marked(self._stack.identity, grace_s=_RAY_GRACE_S, keep=kept)
        child.stop(_GRACE_S.get(name, 1.0))
        self._stopped(name, begin)

    def _stopped(self, name: str, begin: float) -> None:
        self._console.print(f"[dim]·[/] Stopped {name:<24}{time.monotonic() - begin:6.1f} s", highlight=False)
