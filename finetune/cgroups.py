"""The memory that a container leaves to what runs in it, which may be less than the machine has free."""

from collections.abc import Iterator
from pathlib import Path

# Limit, use, and the cached files that make way, in each version of Linux's control groups
# (the kernel's admin-guide/cgroup-v2.rst, and admin-guide/cgroup-v1/memory.rst).
_VERSION_2 = ("memory.max", "memory.current", "inactive_file")
_VERSION_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def room_in_group(own: Path = Path("/proc/self/cgroup"), mounted: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes up to the nearest memory limit of the groups that this process is in; None where there is no limit.

    Args:
        own: Where the kernel tells which groups these are.
        mounted: Where it tells their limits.
    """
    try:
        lines = own.read_text("utf-8").splitlines()
    except OSError:  # not Linux
        return None
    rooms = [_room(group, *files) for line in lines for group, files in _groups(line, mounted)]
    return min((room for room in rooms if room is not None), default=None)


def _groups(line: str, mounted: Path) -> Iterator[tuple[Path, tuple[str, str, str]]]:
    """A group and all it is within, of a line such as `4:memory:/a/b`; a container may see its own as the root."""
    _, controllers, path = line.split(":", 2)
    if "memory" in controllers.split(","):
        root, files = mounted / "memory", _VERSION_1
    elif not controllers:
        root, files = mounted, _VERSION_2
    else:
        return
    group = root / path.strip("/")
    yield from ((each, files) for each in (group, *group.parents) if each.is_relative_to(root))


def _room(group: Path, limit: str, used: str, cached: str) -> int | None:
    try:
        most, now = (int((group / name).read_text("ascii")) for name in (limit, used))
        stat = dict(line.split() for line in (group / "memory.stat").read_text("ascii").splitlines())
    except (OSError, ValueError):  # no such group here, or its limit is `max`
        return None
    return max(0, most - now + int(stat.get(cached, 0)))
