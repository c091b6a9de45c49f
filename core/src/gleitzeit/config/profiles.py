"""The sections of a document, with the profiles that were chosen laid on top."""

from __future__ import annotations

from typing import Final

from gleitzeit.config.files import Document
from gleitzeit.config.merge import Node, Path, Table, dotted, merge
from gleitzeit.config.problems import Problems
from gleitzeit.discovery import SECTIONS
from gleitzeit.near import did_you_mean

__all__ = ["INSTANCES", "NAMES", "apply"]

#: The sections whose tables are instances.
INSTANCES: Final = ("providers", "servers", *(section for section in SECTIONS if section != "providers"))
#: All sections but `profiles`.
NAMES: Final = ("host", *INSTANCES, "routes", "aliases", "toolsets")


def apply(document: Document, profile: str | None, problems: Problems) -> Table:
    """Base, then the profile `default` where there is one, then `profile`, which must exist."""
    base = document.tree()
    assert isinstance(base, Table), "a document is a table"
    layers: list[Node] = [_checked(base, (), problems)]
    profiles = base.get("profiles")
    names = list(profiles.items) if isinstance(profiles, Table) else []
    if profiles is not None and not isinstance(profiles, Table):
        problems.add(
            profiles.source, "profiles", "expected a table of profiles", "write [profiles.NAME.SECTION...]"
        )
    for name in names:
        path = ("profiles", name)
        node = document.tree(at=path, prefix=f"profile {name} in ")
        if not isinstance(node, Table):
            problems.add(
                node.source, dotted(path), "expected a table", f"write [{dotted((*path, 'SECTION'))}]"
            )
            continue
        checked = _checked(node, path, problems)
        if name in ("default", profile):
            layers.insert(1 if name == "default" else len(layers), checked)
    if profile is not None and profile not in names:
        known = f"it has {', '.join(names)}" if names else "it has none; write [profiles.NAME.SECTION...]"
        problems.add(
            document.name, "", f"there is no profile {profile!r}", did_you_mean(profile, names, known)
        )
    merged = layers[0]
    for layer in layers[1:]:
        merged = merge(merged, layer)
    assert isinstance(merged, Table), "tables merge to a table"
    return merged


def _checked(node: Table, path: Path, problems: Problems) -> Table:
    """The known sections of a document or profile; others are problems."""
    for name, section in node.items.items():
        key = dotted((*path, name))
        if name == "profiles" and not path:
            continue
        if name == "mcpServers":
            step = "name this file in host.mcp_files, or write [servers.NAME]"
            problems.add(section.source, key, "this belongs into a file of MCP servers", step)
        elif name not in NAMES:
            step = did_you_mean(name, (*NAMES, "profiles"), f"sections are {', '.join((*NAMES, 'profiles'))}")
            problems.add(section.source, key, "there is no such section", step)
        elif not isinstance(section, Table):
            problems.add(section.source, key, "expected a table", f"write [{key}]")
    kept = {name: item for name, item in node.items.items() if name in NAMES and isinstance(item, Table)}
    return Table(kept, node.source)
