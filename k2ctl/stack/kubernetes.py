"""The Helm chart of `stack/kubernetes`: its values from a profile, and the chart as a folder of one's own.

In pods k2ctl uses the engine external: the profile, with its section `external`, is a ConfigMap, and what it refers to
as `${env:NAME}` or `${file:PATH}` are keys of a Secret.
"""

import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from k2ctl.domain.topics import is_pattern
from k2ctl.errors import ProfileError, UsageError
from k2ctl.home import shipped
from k2ctl.profiles import Profile, load_profile, profile_names, profile_path
from k2ctl.profiles.external import EXAMPLE, relative_files
from k2ctl.profiles.fleet import CONSUMER_CORES, fleet_of
from k2ctl.profiles.loader import file_at
from k2ctl.profiles.strict_yaml import load, read_text
from k2ctl.stack.compose.render import as_yaml

CHART: Final = "kubernetes"
"""The folder of the chart in `stack`."""

HEADROOM: Final = 1.25
"""A container's memory by the limit that its consumer keeps to: k2ctl defers trades before the kernel ends it."""

VALUES: Final = "profile-values.yaml"
"""The file beside the chart's own values that says what the profile says."""

DEFINITIONS: Final = {"rules.yml": "prometheus/rules.yml", "dashboards": "grafana/dashboards"}
"""What the chart has in `files`, and where it is in `stack`: the very files that Compose mounts."""

_ON_DISK: Final = ("sqlite:", "file:")


@dataclass(frozen=True)
class RenderedValues:
    """Values for the chart, and what is still to be said in them."""

    text: str
    # Empty if nothing is missing.
    missing: str


def render_values(name_or_path: str) -> RenderedValues:
    """The chart's values for a profile, as YAML.

    Raises:
        ProfileError: there is no such profile, a mistake in it, or something in it that pods cannot reach.
    """
    profile = load_profile(name_or_path)
    values = values_of(name_or_path, profile)
    head = f"# Written by: k2ctl stack render --kubernetes --profile {name_or_path}\n"
    if profile.external is not None:
        return RenderedValues(head + as_yaml(values), "")
    example = "".join(f"#   {line}\n" for line in EXAMPLE.splitlines()[2:])
    missing = f"The profile {name_or_path} does not say where Kafka, state, catalog and warehouse are."
    note = f"# Still to be said, where Kafka, state, catalog and warehouse are, in `profile`; for example:\n{example}"
    return RenderedValues(head + note + as_yaml(values), missing)


def values_of(name_or_path: str, profile: Profile) -> dict[str, Any]:
    """What the profile says of the chart's values; the rest is as in the chart."""
    _require_one_topic(name_or_path, profile)
    content, beside = _content(name_or_path)
    _require_reached_by_pods(name_or_path, content.get("external") or {})
    memory_mb, partitions = profile.consumer.memory_limit_mb, profile.topic.partitions
    values: dict[str, Any] = {
        "profile": content,
        "consumer": {
            "replicas": consumers_of(profile),
            "partitions": partitions,
            "resources": {
                "requests": {"cpu": f"{CONSUMER_CORES:g}", "memory": f"{memory_mb}M"},
                "limits": {"memory": f"{math.ceil(memory_mb * HEADROOM)}M"},
            },
        },
        "autoscaling": {"maxReplicas": partitions},
    }
    return {**values, "profileFiles": beside} if beside else values


def consumers_of(profile: Profile) -> int:
    """As many consumers as the profile is priced with; never more than partitions."""
    count = 1 if profile.scale is None else fleet_of(profile, profile.scale).count
    return min(count, profile.topic.partitions)


def write_chart(folder: Path, values: str) -> None:
    """The chart, with the values for a profile beside its own, and with the rules and dashboards of `stack`.

    Raises:
        UsageError: there is something at its place.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is there and not empty.", "Name a folder that is not: --chart ./k2-chart")
    chart = shipped("stack") / CHART
    shutil.copytree(chart, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("files"))
    (folder / "files").mkdir()
    for name, source in DEFINITIONS.items():
        found = shipped("stack") / source
        (shutil.copytree if found.is_dir() else shutil.copyfile)(found, folder / "files" / name)
    (folder / VALUES).write_text(values, encoding="utf-8")


def _content(name_or_path: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The profile as its file has it, secrets by reference; and the files beside it that it names, by name."""
    if name_or_path in profile_names():
        return {"base": name_or_path, "name": name_or_path}, {}
    path = profile_path(name_or_path)
    content, beside = load(path, read_text(path))[0], dict[str, str]()
    for section, key in (("topic", "feed"), ("market", "conditions")):
        named = (content.get(section) or {}).get(key)
        found = file_at(str(path.parent / named)) if isinstance(named, str) else None
        if found is not None:
            beside[found.name] = read_text(found)
            content = {**content, section: {**content[section], key: found.name}}
    return content, beside


def _require_one_topic(name_or_path: str, profile: Profile) -> None:
    if is_pattern(profile.trades_topic):
        raise ProfileError(
            f"{name_or_path}: topic.name is a regular expression, and a release of the chart reads one topic.",
            "Write a profile for each topic: topic: {name: NAME}",
        )


def _require_reached_by_pods(name_or_path: str, external: Mapping[str, Any]) -> None:
    """Refuse what is on the disk of one machine."""
    for key in ("catalog", "warehouse"):
        if str(external.get(key, "")).startswith(_ON_DISK):
            raise ProfileError(
                f"{name_or_path}: external.{key} is on the disk of one machine, and pods are on several.",
                "Name a service: catalog: postgresql+psycopg://… or https://…, warehouse: s3://BUCKET/PATH",
            )
    for path in relative_files(external):
        raise ProfileError(
            f"{name_or_path}: ${{file:{path}}} is beside the profile, and no pod has it there.",
            f"Name it by a whole path; the Secret's key is mounted there: ${{file:/run/secrets/{Path(path).name}}}",
        )
