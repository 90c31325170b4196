"""Images: which are there, pulling with its fraction of bytes, building with its step."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from k2ctl.errors import StackError
from k2ctl.stack.compose.model import Service
from k2ctl.stack.engine import Report
from k2ctl.stack.progress import Event, Phase

if TYPE_CHECKING:
    from docker import APIClient


def image_id(client: "APIClient", image: str) -> str | None:
    """The id of the image that a name means here and now, None when there is none."""
    from docker.errors import ImageNotFound

    try:
        return str(client.inspect_image(image)["Id"])
    except ImageNotFound:
        return None


def pull(client: "APIClient", name: str, service: Service, report: Report) -> None:
    """Pull the image of a service.

    Raises:
        StackError: it cannot be had; with how to build or load it.
    """
    from docker.errors import APIError

    try:
        layers: dict[str, tuple[int, int]] = {}
        report(Event(Phase.PULL, name, service.image))
        for line in client.pull(service.image, stream=True, decode=True):
            if "error" in line:
                raise _cannot_be_had(name, service, line["error"])
            report(Event(Phase.PULL, name, service.image, pulled_share(layers, line)))
    except APIError as error:
        raise _cannot_be_had(name, service, error.explanation or str(error)) from error


def pulled_share(layers: dict[str, tuple[int, int]], line: dict[str, Any]) -> float | None:
    """Note what a line of a pull says of a layer; the fraction of all bytes known so far, None before any is."""
    detail = line.get("progressDetail") or {}
    if line.get("status") == "Downloading" and detail.get("total"):
        layers[line["id"]] = (detail["current"], detail["total"])
    elif line.get("status") in ("Download complete", "Pull complete") and line.get("id") in layers:
        total = layers[line["id"]][1]
        layers[line["id"]] = (total, total)
    whole = sum(total for _, total in layers.values())
    return sum(current for current, _ in layers.values()) / whole if whole else None


def _cannot_be_had(name: str, service: Service, reason: str) -> StackError:
    help_ = (
        "Build it: k2ctl stack up --engine docker --build"
        if service.build
        else f"Bring it (docker save {service.image} on a machine that has it, docker load here), or: --without {name}"
    )
    return StackError(f"The image {service.image} is not here and cannot be pulled: {' '.join(reason.split())}", help_)


def build(client: "APIClient", name: str, service: Service, report: Report) -> None:
    """Build the image of a service that has a `build` section.

    Raises:
        StackError: the build failed, with its last lines.
    """
    if service.build is None:
        return
    if not (service.build.context / service.build.dockerfile).is_file():
        raise StackError(
            f"{service.image} is built from {Path(service.build.context)}, which has no {service.build.dockerfile}.",
            "Build it from a checkout of the project.",
        )
    report(Event(Phase.BUILD, name, service.image))
    stream = client.build(
        path=str(service.build.context),
        dockerfile=service.build.dockerfile,
        buildargs=service.build.args,
        tag=service.image,
        rm=True,
        forcerm=True,
        decode=True,
    )
    _follow(stream, name, service, report)


def _follow(stream: Iterable[dict[str, Any]], name: str, service: Service, report: Report) -> None:
    said: list[str] = []
    for line in stream:
        text = str(line.get("stream") or "").strip()
        if text:
            said = [*said[-5:], text]
            report(Event(Phase.BUILD, name, text.splitlines()[-1]))
        if "error" in line:
            listed = "\n".join(f"  {entry}" for entry in said)
            raise StackError(f"{service.image} could not be built: {line['error']}\n{listed}", "See the lines above.")
