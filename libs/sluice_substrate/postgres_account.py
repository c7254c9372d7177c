"""PostgreSQL refuses to run as root: under root it runs as `nobody`, and this finds out how."""

import os
import pwd
import shutil
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sluice_substrate.errors import StartFailed

_ACCOUNT = "nobody"


@dataclass(frozen=True, slots=True)
class Account:
    """How a server program is started: `prefix` before its command, `options` for the spawn."""

    prefix: tuple[str, ...]
    options: dict[str, object]
    owner: tuple[int, int] | None

    def adopt(self, folder: Path) -> None:
        """Give `folder` and what is in it to the account (only under root)."""
        if self.owner is not None:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, *self.owner, follow_symlinks=False)


def account_for(paths: Sequence[Path]) -> Account:
    """The account for a server that needs `paths`.

    A folder above them that `nobody` may not enter (a clone below /root, say) is reached by a capability
    that `setpriv` hands on; the folder's permissions are never changed. Raises StartFailed.
    """
    if os.geteuid() != 0:
        return Account((), {}, None)
    entry = pwd.getpwnam(_ACCOUNT)
    owner = (entry.pw_uid, entry.pw_gid)
    closed = _closed_to_others(paths)
    if closed is None:
        return Account((), {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}, owner)
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise StartFailed(
            f"PostgreSQL does not run as root, and the account {_ACCOUNT!r} may not enter {closed}: install "
            f"util-linux (setpriv), run as another user, or 'chmod o+x {closed}'"
        )
    capability = "+dac_override"
    prefix = (
        setpriv,
        f"--reuid={owner[0]}",
        f"--regid={owner[1]}",
        "--clear-groups",
        f"--inh-caps={capability}",
        f"--ambient-caps={capability}",
    )
    return Account(prefix, {}, owner)


def _closed_to_others(paths: Iterable[Path]) -> Path | None:
    for path in paths:
        for folder in path.resolve().parents:
            if not folder.stat().st_mode & stat.S_IXOTH:
                return folder
    return None
